"""Why a task waits: one sentence, wherever it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from athanore.api.prefect import seen
from tests.api.conftest import ODD, dispatcher, write_prompt
from tests.api.rig import Api, bearer, served
from tests.support import wait_until


@pytest.fixture
def held(tmp_path: Path, prefect_api: str) -> Iterator[Api]:
    """The API of an app with a route that wants a label, and looks after blockers."""
    app = dispatcher(tmp_path, "reasons", managed=True)
    app.route("Done", name="Picky", labels=["ready"], respect_blockers=True)(write_prompt)
    with served(app, prefect_api) as it:
        yield it


def _everywhere(api: Api, task_id: str) -> dict[str, str | None]:
    """What is said of a task, by who says it."""
    overview = api.get("/overview")
    in_status = [*overview["runs"], *overview["not_started"]]
    cards = api.get("/board")["cards"]
    return {
        "explain": api.get(f"/tasks/{task_id}/explanation")["reason"],
        "show": api.get(f"/overview/tasks/{task_id}")["waits_for"],
        "tasks": _of(api.get("/overview/tasks"), task_id),
        "status": next((t["waits_for"] for t in in_status if t["task_id"] == task_id), None),
        "GET /tasks": next(t["waits_for"] for t in api.get("/tasks") if t["id"] == task_id),
        "the page": next((c["waits_for"] for c in cards if c["id"] == task_id), None),
    }


def _of(tasks: list[dict[str, Any]], task_id: str) -> str:
    return next(t["waits_for"] for t in tasks if t["task"]["id"] == task_id)


def _agree(api: Api, task_id: str, reason: str) -> None:
    found: dict[str, str | None] = {}

    def agree() -> bool:
        found.update(_everywhere(api, task_id))
        return len(set(found.values())) == 1

    wait_until("all say the same", agree)
    assert reason in str(found["explain"])


@pytest.mark.smoke
def test_the_same_reason_is_given_everywhere(held: Api) -> None:
    board = held.board
    plain = board.create_task("Done", "No label")
    _agree(held, plain.id, "No route of 'Done' takes it: 'Picky' wants label 'ready'.")
    blocked = board.create_task("Done", "Later", f"Blocked by: #{plain.id}")
    board.update_task(blocked.id, labels=["ready"])
    _agree(held, blocked.id, f"It is blocked by task {plain.id} ('No label', in 'Done').")
    filtered = held.get("/tasks?queue=Done")
    assert next(t for t in filtered if t["id"] == blocked.id)["waits_for"].startswith("It is block")
    odd = board.create_task(ODD, "Nobody is there")
    _agree(held, odd.id, "takes it, but no worker of the app is online.")
    held.post("/tasks/" + odd.id + "/dispatch", {}, 202)
    _agree(held, odd.id, "Its run is due, but no worker of the app is online.")
    done = board.create_task("In Progress", "Over")
    listed = {t["id"]: t for t in held.get("/tasks")}
    assert (listed[done.id]["waits_for"], listed[done.id]["until"]) == (None, None)


def test_an_agent_that_waits_for_an_answer_says_so(api: Api) -> None:
    task = api.board.create_task("Todo", "Ask me")
    _, token = api.start_run(task.id)
    body = {"question": "Blue or red?"}
    api.post(f"/tasks/{task.id}/questions", body, 201, headers=bearer(token))
    _agree(api, task.id, "waits for an answer. Question open since")


def test_what_it_costs_does_not_grow_with_the_tasks(
    held: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    machinery, open_runs = seen.look_at_machinery, seen.open_runs.of_tasks

    async def look(*args: Any) -> Any:
        asked.append("machinery")
        return await machinery(*args)

    async def find(*args: Any) -> Any:
        asked.append("runs")
        return await open_runs(*args)

    monkeypatch.setattr(seen, "look_at_machinery", look)
    monkeypatch.setattr(seen.open_runs, "of_tasks", find)
    for number in range(60):
        held.board.create_task("Done", f"Task {number}")
    cards = held.get("/board")["cards"]
    assert sum(c["waits_for"] is not None for c in cards) == 61
    assert asked == ["runs", "machinery"]
    lists = [held.get("/tasks") for _ in range(5)]
    assert sum(t["waits_for"] is not None for t in lists[-1]) == 61
    assert asked.count("machinery") <= 2
    assert asked.count("runs") <= 3, "they share what was read"


def test_the_list_is_there_while_prefect_is_not(lonely: Api) -> None:
    task = lonely.board.create_task("Todo", "Alone")
    listed = {t["id"]: t for t in lonely.get("/tasks")}
    assert listed[task.id]["waits_for"] is None
