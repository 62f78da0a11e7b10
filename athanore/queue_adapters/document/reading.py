"""Reading what people write: a number for a name, one label instead of a list of labels."""

from __future__ import annotations

import json
import reprlib
from dataclasses import replace
from typing import Any, cast

from athanore.models import ChecklistItem, Comment, Task
from athanore.queue_adapters.times import time_of

type JsonObject = dict[str, Any]

DONE_KEYS = ("is_completed", "isCompleted", "done", "completed")


def id_of(raw: object) -> str:
    """The id of a task as text; "" if it has none."""
    value: object = cast("JsonObject", raw).get("id") if isinstance(raw, dict) else None
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def number_of(value: object) -> int:
    """A number that somebody may have edited; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def problem_of(raw: object, task_id: str) -> str | None:
    """Say why a task cannot be read; None if it can."""
    if not isinstance(raw, dict):
        return f"{reprlib.repr(raw)} is not an object"
    name = text_of(cast("JsonObject", raw).get("name"))
    if not task_id.strip():
        return f"the task called {reprlib.repr(name)} has no id"
    if not name.strip():
        return f"the task {reprlib.repr(task_id)} has no name"
    return None


def summary_of(queue_name: str, raw: JsonObject) -> Task:
    """A task without comments and checklist: polls read many."""
    return Task(
        id=id_of(raw),
        name=text_of(raw.get("name")),
        queue_name=queue_name,
        description=text_of(raw.get("description")),
        labels=strings_of(raw.get("labels")),
        assignees=strings_of(raw.get("assignees")),
        **said_besides(raw),
    )


def said_besides(raw: JsonObject) -> dict[str, Any]:
    """The fields of a `Task` that are a person's to write: Athanore writes none of them."""
    return {
        "blocked_by": strings_of(raw.get("blocked_by")),
        "author": text_of(raw.get("author")) or None,
        "priority": text_of(raw.get("priority")) or None,
        "created_at": time_of(raw.get("created_at")),
        "updated_at": time_of(raw.get("updated_at")),
    }


def whole_task(queue_name: str, raw: JsonObject) -> Task:
    return replace(
        summary_of(queue_name, raw),
        comments=tuple(comment_of(c) for c in items_of(raw.get("comments"))),
        tasks=tuple(checklist_item_of(i) for i in items_of(raw.get("tasks"))),
    )


def comment_of(raw: object) -> Comment:
    if not isinstance(raw, dict):
        return Comment(text_of(raw))
    fields = cast("JsonObject", raw)
    return Comment(
        text=text_of(fields.get("text")),
        author=text_of(fields.get("author")) or None,
        created_at=time_of(fields.get("created_at")),
        id=id_of(fields) or None,
    )


def checklist_item_of(raw: object) -> ChecklistItem:
    if not isinstance(raw, dict):
        return ChecklistItem(text_of(raw))
    fields = cast("JsonObject", raw)
    return ChecklistItem(
        name=text_of(fields.get("name")),
        is_completed=any(fields.get(key) is True for key in DONE_KEYS),
        id=id_of(fields) or None,
    )


def items_of(value: object) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def strings_of(value: object) -> tuple[str, ...]:
    return tuple([text for item in items_of(value) if (text := text_of(item))]) if value else ()


def text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def kind_of(value: object) -> str:
    for kind, name in ((dict, "an object"), (list, "a list"), (str, "a text"), (bool, "a boolean")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "a number"
