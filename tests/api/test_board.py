"""The board in one answer, and what a person does there: requeue, pause, resume."""

from __future__ import annotations

import json
import time
from itertools import batched
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.runs import store
from athanore.runs.dispatching import Dispatch
from athanore.runs.prefect_store import PrefectRunStore
from athanore.services.status import reasons
from tests.api.conftest import ODD, OPERATOR, dispatcher, write_prompt
from tests.api.rig import Api, bearer, served
from tests.support import wait_until


def card_of(api: Api, task_id: str) -> dict[str, Any]:
    (card,) = [c for c in api.get("/board")["cards"] if c["id"] == task_id]
    return card


def test_the_board_shows_queues_and_cards(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it")
    board = api.get("/board")
    assert [q["name"] for q in board["queues"]] == ["Todo", "In Progress", "Review", "Done", ODD]
    assert [q["kind"] for q in board["queues"]][:4] == [
        "watched", "in-progress", "watched", "other"
    ]  # fmt: skip
    todo = board["queues"][0]
    assert todo["task_count"] == 1
    assert (todo["route"]["deployed"], todo["route"]["paused"]) == (True, [])
    card = next(c for c in board["cards"] if c["id"] == task.id)
    assert (card["name"], card["queue_name"], card["run"]) == ("Fix it", "Todo", None)
    assert card["actions"] == ["dispatch"]
    assert (board["board_error"], board["prefect_error"]) == (None, None)


def test_a_column_has_all_routes_that_watch_its_queue(tmp_path: Path) -> None:
    app = dispatcher(tmp_path)
    app.route("Done", labels=["bug"], name="bugs")(write_prompt)
    app.route("Done")(write_prompt)
    with served(app) as api:
        queues = {q["name"]: q for q in api.get("/board")["queues"]}
    assert [r["name"] for r in queues["Done"]["routes"]] == ["bugs", "Done"]
    assert queues["Done"]["route"] == queues["Done"]["routes"][0]
    assert (queues["In Progress"]["routes"], queues["In Progress"]["route"]) == ([], None)


def test_a_board_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    etag = api.http.get("/board").headers["etag"]
    headers = {"If-None-Match": etag}
    assert api.http.get("/board", headers=headers).status_code == 304
    api.board.create_task("Todo", "New")
    wait_until("it is sent", lambda: api.http.get("/board", headers=headers).status_code == 200)


def test_a_board_on_which_nothing_happens_is_not_made_anew(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    of_tasks = reasons.of_tasks

    async def note(*args: Any, **options: Any) -> Any:
        made.append(time.monotonic())
        return await of_tasks(*args, **options)

    monkeypatch.setattr(reasons, "of_tasks", note)
    looks = [api.get("/board")]
    while time.monotonic() - made[0] < 4:
        time.sleep(1.1)
        looks.append(api.get("/board"))
    assert all(look == looks[0] for look in looks)
    # What is asked of Prefect every five seconds may have been asked in between.
    assert len(made) <= 2 < len(looks)
    task = api.board.create_task("Todo", "A new one")

    def is_shown() -> bool:
        return task.id in [card["id"] for card in api.get("/board")["cards"]]

    wait_until("the new card is shown", is_shown, 10)


def test_of_very_many_tasks_as_many_are_cards_as_a_page_can_show(tmp_path: Path) -> None:
    dispatcher(tmp_path)
    board = json.loads((tmp_path / "board.json").read_text())
    for queue, start in (("Todo", 10_000), ("Done", 20_000)):
        board["queues"][queue] = [{"id": str(start + i), "name": "x"} for i in range(1500)]
    (tmp_path / "board.json").write_text(json.dumps(board))
    app = AgentDispatcher(name="api", queue_backend=JsonFileAdapter(tmp_path / "board.json"))
    app.route("Todo", command="true")(write_prompt)
    with served(app) as api:
        shown = api.get("/board")
    ids = [int(card["id"]) for card in shown["cards"]]
    assert ids[:1000] == list(range(10_000, 11_000)), "the next of a queue that is worked on"
    assert ids[1000:] == list(range(20_500, 21_500)), "the last of another"
    assert [q["hidden"] for q in shown["queues"]] == [500, 0, 0, 500, 0]


def test_of_many_runs_those_that_begin_and_end_are_seen_at_once(
    tmp_path: Path, prefect_api: str
) -> None:
    with served(dispatcher(tmp_path, "crowded"), prefect_api) as api:
        tasks = [api.board.create_task("Todo", f"Task {n}") for n in range(205)]

        async def dispatch(client: PrefectRunStore) -> None:
            for some in batched(tasks, 50, strict=False):
                due = [Dispatch(t, store.FIRST_VISIT, api.app.clock.now()) for t in some]
                await api.app.dispatching.dispatch_all(
                    client, api.dispatcher.routes["Todo"], due, None
                )

        def phase() -> str | None:
            run = card_of(api, tasks[150].id)["run"]
            return None if run is None else run["phase"]

        api.with_prefect(dispatch)
        wait_until("it waits", lambda: phase() == "waiting")
        run_id, _ = api.start_run(tasks[150].id)
        wait_until("it works", lambda: phase() == "working")
        api.end_run(run_id)
        wait_until("it has ended", lambda: phase() is None)
        cards = api.get("/board")["cards"]
        assert sum(c["run"] is not None and c["run"]["phase"] == "waiting" for c in cards) == 204


def test_a_card_tells_of_its_run(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it")
    api.get("/board")
    api.post(f"/tasks/{task.id}/dispatch", {}, 202)
    card = card_of(api, task.id)
    assert (card["run"]["phase"], card["run"]["max_attempts"]) == ("waiting", 3)
    assert card["actions"] == ["cancel"]
    run_id, _ = api.start_run(task.id)
    wait_until("it works", lambda: card_of(api, task.id)["run"]["phase"] == "working")
    assert card_of(api, task.id)["run"]["worker"] == "host-1"
    api.end_run(run_id)
    wait_until("it is over", lambda: card_of(api, task.id)["run"] is None)
    (run,) = api.get(f"/tasks/{task.id}/runs")
    assert (run["id"], run["state"], run["queue_name"]) == (run_id, "Completed", "Todo")
    assert run["ended_at"] and run["url"].endswith(run_id)


def test_a_dead_letter_is_shown_and_requeued(api: Api) -> None:
    task = api.board.create_task("Todo", "Hopeless")
    api.post(f"/tasks/{task.id}/requeue", {}, 409)
    run_id, _ = api.start_run(task.id)
    api.board.move_task(task.id, "In Progress")
    api.post(f"/tasks/{task.id}/requeue", {}, 409)
    state = {"type": "FAILED", "message": "exit code 2\nno such module"}
    api.prefect.post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})
    wait_until("it is a dead letter", lambda: card_of(api, task.id)["dead_letter"])
    card = card_of(api, task.id)
    assert card["dead_letter"]["reason"] == "exit code 2"
    assert card["dead_letter"]["attempts"] == 1
    assert card["dead_letter"]["url"].endswith(run_id)
    assert card["actions"] == ["requeue"]

    again = api.post(f"/tasks/{task.id}/requeue", {}, 202)
    assert again["id"] != run_id
    assert api.board.get_task(task.id).queue_name == "Todo"
    assert "fresh start in 'Todo'" in api.board.get_task(task.id).comments[-1].text
    card = card_of(api, task.id)
    assert (card["dead_letter"], card["run"]["phase"]) == (None, "waiting")
    assert api.post(f"/tasks/{task.id}/requeue", {}, 409)["type"].endswith("task-busy")


def test_a_task_is_requeued_to_the_queue_that_is_named(api: Api) -> None:
    task = api.board.create_task("Done", "Once more")
    assert api.post(f"/tasks/{task.id}/requeue", {"queue_name": "Nowhere"}, 404)
    run = api.post(f"/tasks/{task.id}/requeue", {"queue_name": "Review"}, 202)
    assert run["queue_name"] == "Review"
    assert api.board.get_task(task.id).queue_name == "Review"
    api.post("/tasks/no-such-task/requeue", {}, 404)


def test_a_route_is_paused_and_resumed(api: Api) -> None:
    path = f"/routes/{quote(ODD, safe='')}"
    try:
        paused = api.post(f"{path}/pause", {}, 200)
        assert paused == {"name": ODD, "queue_name": ODD, "paused": ["polls", "agents"]}
        assert api.get("/board")["queues"][4]["route"]["paused"] == ["polls", "agents"]
    finally:
        assert api.post(f"{path}/resume", {}, 200)["paused"] == []
    assert api.get("/board")["queues"][4]["route"]["paused"] == []
    problem = api.post("/routes/Done/pause", {}, 404)
    assert problem["existing"] == ["Todo", "Review", ODD]


def test_without_prefect_the_board_is_shown_all_the_same(lonely: Api) -> None:
    lonely.board.create_task("Todo", "Fix it")
    board = lonely.get("/board")
    assert [c["name"] for c in board["cards"]] == ["Fix it", "Finished already"]
    assert board["active_agents"] is None
    assert "Prefect" in board["prefect_error"]
    assert [c["actions"] for c in board["cards"]] == [[], []]


def test_a_schedule_that_is_off_in_prefects_ui_is_paused_everywhere(api: Api) -> None:
    tags = {"all_": [f"app:{api.app.name}", "poll", f"route:{ODD}"]}
    (poll,) = api.prefect.post("/deployments/filter", {"deployments": {"tags": tags}})
    for switch, parts in (("pause", ["polls"]), ("resume", [])):
        api.prefect.post(f"/deployments/{poll['id']}/{switch}_deployment", {})
        wait_until(
            "the page says so",
            lambda wanted=parts: api.get("/board")["queues"][4]["route"]["paused"] == wanted,
        )

        def said() -> tuple[list[list[str]], list[str]]:
            status = api.get("/status")
            paused = [r["paused"] for r in status["paused_routes"] if r["name"] == ODD]
            return paused, [n["kind"] for n in status["needs_person"] if n["route"] == ODD]

        expected = ([parts] if parts else [], ["half-paused"] * len(parts))
        wait_until("status and what needs a person, too", lambda wanted=expected: said() == wanted)


def test_an_agent_neither_requeues_nor_pauses(guarded: Api) -> None:
    task = guarded.board.create_task("Todo", "Fix it")
    run_id, token = guarded.start_run(task.id)
    headers = bearer(token)
    guarded.post(f"/tasks/{task.id}/requeue", {}, 403, headers=headers)
    guarded.post("/routes/Todo/pause", {}, 403, headers=headers)
    guarded.get("/board", 401)
    guarded.get("/board", headers=headers)
    guarded.end_run(run_id)
    guarded.get(f"/tasks/{task.id}/runs", headers=bearer(OPERATOR))
