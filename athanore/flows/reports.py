"""What people read of a run in Prefect's UI: a page for each agent run, a table for each route.

Both are Prefect artifacts. The page is one for all attempts of a run, and is brought up to date at
the end of each; the table is written by a poll that found something new. Neither may fail a run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State, StateType

from athanore import names
from athanore.logs import Log
from athanore.models import AgentResult, Task
from athanore.runs import artifacts
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState, in_short
from athanore.runtime.apps import App
from athanore.texts import cut, markdown

_PAGE = "markdown"
_MAX_PROMPT = 20_000
_MAX_TEXT = 5_000
_MAX_ROWS = 200
_MAX_CELL = 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """The end of one start of a run.

    Attributes:
        ending: what came of it, in a few words.
        output: what the agent has handed in, as JSON; "" for nothing.
    """

    task: Task
    prompt: str
    ending: str
    seconds: float
    result: AgentResult
    output: str = ""


def table_key(app: str, route: str) -> str:
    """The key of a route's table: Prefect takes small letters, digits and dashes only."""
    readable = re.sub(r"[^a-z0-9]+", "-", route.lower()).strip("-")
    digest = hashlib.sha256(names.route_resource(app, route).encode()).hexdigest()[:8]
    return "-".join(filter(None, ("route", readable[:60], digest)))


async def write_page(
    client: PrefectRunStore, app: App, run: FlowRun, attempt: Attempt, log: Log
) -> None:
    """Make or renew the page of a run. An error is logged, never raised."""
    try:
        await _write_page(client, app, run, attempt)
    except Exception as exc:
        log.warning(
            "The run's page in Prefect was not written: %s",
            exc,
            extra={"action": "report_not_written"},
        )


async def _write_page(client: PrefectRunStore, app: App, run: FlowRun, attempt: Attempt) -> None:
    record = record_of(run)
    earlier = await artifacts.newest(client, run.id, _PAGE) if record.starts > 1 else None
    rows = dict(earlier.metadata_ or {}) if earlier else {}
    rows[str(record.starts)] = json.dumps(
        [record.attempt, attempt.ending, round(attempt.seconds, 1)]
    )
    text = app.redactor.text(_page(app, run, attempt, rows))
    title = cut(markdown(app.redactor.text(f"{attempt.task.name}: {attempt.ending}")), 200)
    await artifacts.put(
        client,
        run.id,
        _PAGE,
        over=earlier.id if earlier else None,
        data=text,
        description=title,
        metadata=rows,
    )


async def write_table(
    client: PrefectRunStore,
    app: App,
    route: str,
    poll_id: UUID | None,
    tasks: Sequence[Task],
    seen: Mapping[str, str],
    run_ids: Mapping[str, UUID],
    log: Log,
) -> None:
    """Write what a poll of a route saw. An error is logged, never raised.

    Args:
        seen: what a task waits for, or that an agent works on it, by its id.
        run_ids: the tasks' runs.
    """
    rows = [
        {
            "task": _cell(t.id),
            "name": _cell(t.name),
            "labels": _cell(", ".join(t.labels)),
            "says": _cell(seen.get(t.id, "")),
            "run": f"[open](/runs/flow-run/{run_ids[t.id]})" if t.id in run_ids else "",
        }
        for t in tasks[:_MAX_ROWS]
    ]
    try:
        await client.create_artifact(
            ArtifactCreate(
                key=table_key(app.name, route),
                type="table",
                description=(
                    f"What the last poll of route {markdown(repr(route))} saw that found "
                    "something new."
                ),
                data=app.redactor.text(json.dumps(rows, ensure_ascii=False)),
                flow_run_id=poll_id,
            )
        )
    except Exception as exc:
        log.warning(
            "The route's table in Prefect was not written: %s",
            exc,
            extra={"action": "report_not_written"},
        )


def _page(app: App, run: FlowRun, attempt: Attempt, rows: Mapping[str, str]) -> str:
    task, result, clean = attempt.task, attempt.result, app.redactor.text
    address = f"{app.api_url}/#task/{quote(task.id, safe='')}"
    parts = [
        f"# {_cell(task.name)}",
        f"Task `{_cell(task.id)}` from **{_cell(str(run.parameters['queue_name']))}** "
        f"([on the board page]({address})), in run "
        f"[{_cell(run.name)}](/runs/flow-run/{run.id}).",
        "## Attempts",
        _table(("Attempt", "What came of it", "Took"), _attempts(rows)),
    ]
    usage: Mapping[str, Any] = result.usage
    numbers = [(k.replace("_", " "), v) for k, v in usage.items() if isinstance(v, int | float)]
    if numbers:
        parts += ["## Tokens and cost", _table(("", "Last attempt"), numbers)]
    words = [(k.replace("_", " "), v) for k, v in usage.items() if isinstance(v, str) and k != "at"]
    if words:  # with its session a person can go on by hand
        parts += ["## Agent", _table(("", "Last attempt"), words)]
    if attempt.output:
        parts += ["## Result", _fenced(clean(attempt.output), _MAX_PROMPT)]
    if result.output_tail.strip():
        parts += ["## Last output", _fenced(clean(result.output_tail), _MAX_TEXT)]
    if attempt.prompt:
        parts += ["## Prompt", _fenced(clean(attempt.prompt), _MAX_PROMPT)]
    if task.description.strip():
        parts += ["## Description", _fenced(clean(task.description), _MAX_TEXT)]
    return "\n\n".join(parts)


def _attempts(rows: Mapping[str, str]) -> Iterable[tuple[Any, ...]]:
    for start in sorted(rows, key=int):
        number, ending, seconds = json.loads(rows[start])
        yield number, ending, f"{seconds} s"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(c)) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return markdown(cut(text, _MAX_CELL))


def _fenced(text: str, limit: int) -> str:
    """Text as it is, in a fence that nothing in it can close."""
    text = cut(text, limit)
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def say_once(state: State[None], log: Log) -> None:
    """Log what a start came to; the engine says the same with the agent's last words, at DEBUG."""
    if state.name == PrefectState.AWAITING_SLOT:
        return  # which was logged with its reason
    ending = in_short(state.name, state.message)
    if state.type is StateType.FAILED:
        log.error("%s", ending, extra={"action": "run_failed"})
    else:
        log.info("%s", ending, extra={"action": "run_ended"})
