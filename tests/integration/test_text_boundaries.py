"""Texts on all ways through an app.

Over the API to the board, by the prompt to an agent, back by its output and comments, and from
there to Prefect, pages and answers. Nothing on the way may break, and nothing may come out that
does something where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from athanore import AgentDispatcher, JsonFileAdapter, Task
from athanore.texts import is_storable, readable, shown
from tests.harness import Running, app_name, running
from tests.support import wait_until

ECHO = r"""sh -c 'printf "%s\n" "$0"; printf "%s\n" "$0" >&2; exit 3'"""
LINES = 20

NASTY = (
    "\x1b]0;title\x07\x1b[31mred\x1b[0m\x1b[2J 10%\r50%\r100%",
    "a\0b \ud83d \udc80 \x9b2J \x9d0;x\x9c \x85 \u2028 \u202egnp.exe \x7f\b\b",
    "--help",
    "-",
    "'; rm -rf / #",
    "$(id) `id` %s %n {{ 7*7 }} {0}",
    "![x](http://h/a.png) [click](javascript:x) <img src=x onerror=alert(1)> | a | ``` \n# h",
    '"\\u0000" \\ud800 \\ \\n',
    "Größe 3 µm\r\nzweite Zeile\n\n  完了 👩‍👩‍👧 שלום",
    "x" * 5000,
    "a\tb\n" * 40,
    "ath_00000000-0000-0000-0000-000000000000_short",
    "\ufeffbom",
    "\n\n \n x",
)
PIECES = st.sampled_from(
    [
        *"\x1b[]0;m\x07\\\r\b\n\t\0\x9b\x9d\x9c\x85\ud800\u202e\u2028-'\"$`%{}<>|*_#!&aé任👍 ",
        *NASTY[:10],
    ]
)
TEXTS = st.lists(PIECES | st.characters(), max_size=30).map("".join)


@contextmanager
def echoing(prefect_api: str, folder: Path) -> Generator[Running]:
    """An app whose agents say what their task's description says, and fail."""
    file = folder / "board.json"
    queues = ("Todo", "In Progress", "Done", "Failed")
    file.write_text(json.dumps({"queues": {queue: [] for queue in queues}}), encoding="utf-8")
    app = AgentDispatcher(
        name=app_name("texts"),
        command=ECHO,
        queue_backend=JsonFileAdapter(file, user="eve"),
        poll_interval=3600,
        api_port=0,
        dead_letter_queue="Failed",
        max_concurrent_agents=8,
    )

    @app.route("Todo", done_queue="Done", pause_after_failures=10_000)
    def write(task_id: str, task_name: str, task: Task) -> str:
        return task.description

    with running(app, prefect_api) as it:
        yield it


def strings(value: Any) -> Iterator[str]:
    """Every text in a value as JSON has them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in cast(dict[str, Any], value).items():
            yield from (name, *strings(part))
    elif isinstance(value, list):
        for part in cast(list[Any], value):
            yield from strings(part)


def check_clean(where: str, value: Any) -> None:
    for text in strings(value):
        assert is_storable(text), (where, ascii(text))
        assert readable(text) == text, (where, ascii(text))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def check_markdown(text: str, own: Sequence[str]) -> None:
    """Only our own links are in a page, and no images and no HTML."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for block in reader.parse(text):
        assert block.type != "html_block", text
        for child in block.children or ():
            assert child.type not in ("image", "html_inline"), text
            if child.type == "link_open":
                assert str(child.attrs["href"]).startswith(tuple(own)), text


def put_through(it: Running, texts: Sequence[str]) -> None:
    with httpx.Client(base_url=it.api_url, timeout=120) as api:
        # Half a pair of surrogates is no text in JSON, and is refused.
        texts = [text.encode("utf-16", "replace").decode("utf-16") for text in texts]
        made = [_make(api, text) for text in texts]
        for task_id in made:
            wait_until("the task was given up", lambda t=task_id: it.place(t) == "Failed", 120)
        for task_id, text in zip(made, texts, strict=True):
            _check(it, api, task_id, text)
        check_clean("the page", api.get("/board").raise_for_status().json())
        check_clean("the list", api.get("/tasks").raise_for_status().json())


def _make(api: httpx.Client, text: str) -> str:
    body = json.dumps({"queue_name": "Todo", "name": f"T {text}", "description": text})
    answer = api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    task_id = answer.json()["id"]
    body = json.dumps({"comment": f"C {text}"})
    path = f"/tasks/{quote(task_id, safe='')}"
    headers = {"Content-Type": "application/json"}
    assert api.post(f"{path}/comments", content=body, headers=headers).status_code == 201
    changes = json.dumps({"labels": [f"L {text}"]})
    assert api.patch(path, content=changes, headers=headers).status_code == 200
    return task_id


def _check(it: Running, api: httpx.Client, task_id: str, text: str) -> None:
    said = readable(text)
    task = it.board.get_task(task_id)
    assert task.name == readable(f"T {text}")
    assert task.description == said
    comments = [c.text for c in task.comments]
    check_clean("the board", [task.name, task.description, *task.labels, *comments])
    assert readable(f"C {text}") in comments
    (given_up,) = [c for c in comments if c.startswith("Max retries (0) exhausted.")]
    if len(said) < 1000 and len(said.splitlines()) < LINES:
        assert squeezed(said) in squeezed(given_up), (ascii(text), ascii(given_up))
    for path in ("", "/runs"):
        answer = api.get(f"/tasks/{quote(task_id, safe='')}{path}")
        check_clean(f"GET /tasks/ID{path}", answer.raise_for_status().json())
    run = it.prefect.ended(task_id)
    check_clean("the state", run["state"]["message"])
    by_run = {"flow_run_id": {"any_": [run["id"]]}}

    def logged() -> list[dict[str, Any]]:
        return it.prefect.post("/logs/filter", {"logs": by_run})

    lines = wait_until("it was logged", lambda: [x for x in logged() if _is_said(x, said)])
    check_clean("the log", [line["message"] for line in lines])
    assert shown(said) == shown(shown(said))
    for artifact in it.prefect.post("/artifacts/filter", {"artifacts": by_run}):
        check_clean("the artifact", [artifact["data"], artifact["description"]])
        check_markdown(artifact["data"], (it.api_url, "/runs/"))
        check_markdown(artifact["description"], ())


def _is_said(line: dict[str, Any], said: str) -> bool:
    return squeezed(said[:500]) in squeezed(line["message"])


@pytest.mark.nightly
@pytest.mark.postgres
def test_texts_on_all_ways(prefect_api: str, tmp_path: Path) -> None:
    with echoing(prefect_api, tmp_path) as it:
        put_through(it, NASTY)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.postgres
def test_any_texts_on_all_ways(prefect_api: str, tmp_path: Path) -> None:
    with echoing(prefect_api, tmp_path) as it:

        @settings(
            max_examples=5,  # on each database
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
        )
        @given(st.lists(TEXTS, min_size=4, max_size=8))
        def go(texts: list[str]) -> None:
            put_through(it, texts)

        go()
