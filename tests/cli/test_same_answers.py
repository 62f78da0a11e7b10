"""The task API and the command line are two ways to the same use cases.

Each call is made over HTTP and as a command, on two tasks alike, and what came of it is compared:
the board, the runs in Prefect, the events, and the words of a refusal.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from athanore import JsonFileAdapter
from athanore.dispatcher import AgentDispatcher
from athanore.errors import AnswerLostError
from athanore.runtime import apps
from tests.api.rig import Api, served
from tests.cli.rig import QUEUES, Cli, beside, write_script
from tests.harness import app_name
from tests.support import of_this_process, wait_until

WHO = "the task API"
"""How the API calls those who send no token; the user of the command line is called so, too."""


class Way(Protocol):
    """A way to give orders. Each returns the words of the refusal; None if it did it."""

    def create(self, queue: str, name: str, description: str) -> str | None: ...
    def comment(self, task: str, text: str) -> str | None: ...
    def move(self, task: str, queue: str) -> str | None: ...
    def dispatch(self, task: str) -> str | None: ...
    def cancel(self, task: str, reason: str) -> str | None: ...
    def requeue(self, task: str, queue: str | None = None) -> str | None: ...
    def pause(self, queue: str) -> str | None: ...
    def resume(self, queue: str) -> str | None: ...


class OverHttp:
    """Calls the task API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(self, queue: str, name: str, description: str) -> str | None:
        body = {"queue_name": queue, "name": name, "description": description}
        return self._post("/tasks", body)

    def comment(self, task: str, text: str) -> str | None:
        return self._post(f"/tasks/{task}/comments", {"comment": text})

    def move(self, task: str, queue: str) -> str | None:
        return self._post(f"/tasks/{task}/move", {"target_queue": queue})

    def dispatch(self, task: str) -> str | None:
        return self._post(f"/tasks/{task}/dispatch", {})

    def cancel(self, task: str, reason: str) -> str | None:
        return self._post(f"/tasks/{task}/cancel", {"reason": reason})

    def requeue(self, task: str, queue: str | None = None) -> str | None:
        return self._post(f"/tasks/{task}/requeue", {"queue_name": queue})

    def pause(self, queue: str) -> str | None:
        return self._post(f"/routes/{queue}/pause", {})

    def resume(self, queue: str) -> str | None:
        return self._post(f"/routes/{queue}/resume", {})

    def _post(self, path: str, body: dict[str, Any]) -> str | None:
        answer = self._api.http.post(path, json=body)
        return None if answer.is_success else answer.json()["detail"]


class ByCommand:
    """Gives commands."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli

    def create(self, queue: str, name: str, description: str) -> str | None:
        return self._give("create", queue, name, "--description", description)

    def comment(self, task: str, text: str) -> str | None:
        return self._give("comment", task, text)

    def move(self, task: str, queue: str) -> str | None:
        return self._give("move", task, queue)

    def dispatch(self, task: str) -> str | None:
        return self._give("dispatch", task)

    def cancel(self, task: str, reason: str) -> str | None:
        return self._give("cancel", task, "--reason", reason)

    def requeue(self, task: str, queue: str | None = None) -> str | None:
        return self._give("requeue", task, *(["--queue", queue] if queue else []))

    def pause(self, queue: str) -> str | None:
        return self._give("pause", queue)

    def resume(self, queue: str) -> str | None:
        return self._give("resume", queue)

    def _give(self, *words: str) -> str | None:
        output = self._cli(*words)
        return None if output.code == 0 else output.err.removeprefix("athanore: ").rstrip("\n")


type Order = Callable[[Way, str], str | None]


def dispatch(way: Way, task: str) -> str | None:
    """Order an agent for a task."""
    return way.dispatch(task)


def requeue(way: Way, task: str) -> str | None:
    """Order a fresh start of a task."""
    return way.requeue(task)


@dataclasses.dataclass
class Site:
    """An app without workers, so that what is dispatched stays as it was dispatched."""

    api: Api
    folder: Path
    ways: dict[str, Way]

    def ids(self, queue: str) -> list[str]:
        return [t.id for t in self.api.board.get_ready_tasks([queue])]

    def outcome(self, task_id: str) -> dict[str, Any]:
        """What can be seen of a task, without what differs between two tasks."""
        task = self.api.board.get_task(task_id)
        runs = self.api.prefect.runs(task_id)
        return {
            "queue": task.queue_name,
            "name": task.name,
            "description": task.description,
            "comments": [(c.text, c.author) for c in task.comments],
            "runs": [(r["state_type"], r["state"]["name"], r["state"]["message"]) for r in runs],
        }

    def paused(self, queue: str) -> list[str]:
        """What the board page says of a route; it may be some seconds old."""
        queues = self.api.get("/board")["queues"]
        (found,) = [q["route"]["paused"] for q in queues if q["name"] == queue]
        return found

    def compare(self, queue: str, act: Order) -> dict[str, Any]:
        """Do the same to a task each, and return what came of both if that is the same."""
        seen: list[dict[str, Any]] = []
        for way in self.ways.values():
            task_id = self.api.board.create_task(queue, "Fix it").id
            said = act(way, task_id)
            refused = said and said.replace(repr(task_id), "ID")
            seen.append({"refused": refused, **self.outcome(task_id)})
            self.api.board.move_task(task_id, "Backlog")
        over_http, by_command = seen
        assert over_http == by_command
        return over_http


def load(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> AgentDispatcher:
    """Make an app that both ways find, and have the user of commands called as the API's."""
    write_script(folder, name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOGNAME", WHO)
    return apps.load("run.py:dispatcher")


@pytest.fixture
def site(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    # One app for all tests, since deploying takes Prefect a while; so ids must not come again.
    first = {"id": str(random.randrange(10**6, 10**9) * 1000), "name": "Finished already"}
    queues = {q: [first] if q == "Done" else [] for q in QUEUES}
    (tmp_path / "board.json").write_text(json.dumps({"queues": queues}))
    dispatcher = load(tmp_path, of_this_process("same"), monkeypatch)
    with served(dispatcher, prefect_api) as api:
        yield Site(api, tmp_path, {"http": OverHttp(api), "command": ByCommand(cli)})


def test_tasks_are_created_commented_on_and_moved_alike(site: Site) -> None:
    for queue, states in (("Backlog", []), ("Todo", ["Scheduled"])):
        for way in site.ways.values():
            assert way.create(queue, "New", "All of it") is None
        over_http, by_command = [site.outcome(i) for i in site.ids(queue)[-2:]]
        assert over_http == by_command
        assert (over_http["name"], over_http["description"]) == ("New", "All of it")
        assert [r[1] for r in over_http["runs"]] == states

    said = site.compare("Todo", lambda way, task: way.comment(task, "First look"))
    assert [text for text, _ in said["comments"]] == ["First look"]
    assert site.compare("Backlog", lambda way, task: way.move(task, "Done"))["runs"] == []
    moved = site.compare("Backlog", lambda way, task: way.move(task, "Review"))
    assert (moved["queue"], [r[1] for r in moved["runs"]]) == ("Review", ["Scheduled"])


def test_what_is_done_to_a_task_is_told_alike(site: Site) -> None:
    tasks = [site.api.board.create_task("Backlog", "Fix it").id for _ in site.ways]

    def events(task_id: str) -> list[tuple[str, Any, Any, Any]]:
        query = {
            "event": {"prefix": ["athanore.agent."]},
            "resource": {"id": [f"athanore.task.{site.api.app.name}.{task_id}"]},
            "order": "ASC",
        }
        found = site.api.prefect.post("/events/filter", {"filter": query})["events"]
        return [
            (
                e["event"],
                e["payload"].get("text"),
                e["payload"].get("to_queue"),
                "by" in e["payload"],
            )
            for e in found
        ]

    for way, task_id in zip(site.ways.values(), tasks, strict=True):
        assert way.comment(task_id, "First look") is None
        assert way.move(task_id, "Done") is None
    wait_until("all of it is told", lambda: all(len(events(t)) == 2 for t in tasks))
    over_http, by_command = [events(t) for t in tasks]
    assert over_http == by_command
    assert [kind for kind, *_ in over_http] == ["athanore.agent.comment", "athanore.agent.moved"]


def test_runs_are_dispatched_and_cancelled_alike(site: Site) -> None:
    assert [r[1] for r in site.compare("Todo", dispatch)["runs"]] == ["Scheduled"]

    def twice(way: Way, task: str) -> str | None:
        return way.dispatch(task) or way.dispatch(task)

    assert len(site.compare("Todo", twice)["runs"]) == 1

    def cancelled(way: Way, task: str) -> str | None:
        return way.dispatch(task) or way.cancel(task, "not needed")

    (run,) = site.compare("Todo", cancelled)["runs"]
    assert run == ("CANCELLED", "Cancelled", f"by {WHO}: not needed")

    def stopped(way: Way, task: str) -> str | None:
        site.api.start_run(task)
        return way.cancel(task, "too slow")

    (run,) = site.compare("Todo", stopped)["runs"]
    assert run == ("CANCELLING", "Cancelling", f"by {WHO}: too slow")


def test_dead_letters_are_requeued_alike(site: Site) -> None:
    done = site.compare("Failed", requeue)
    assert done["queue"] == "Todo"
    assert [text for text, _ in done["comments"]] == [f"Requeued by {WHO}: fresh start in 'Todo'."]
    assert [r[1] for r in done["runs"]] == ["Scheduled"]
    there = site.compare("Failed", lambda way, task: way.requeue(task, "Review"))
    assert there["queue"] == "Review"


def test_routes_are_paused_and_resumed_alike(site: Site) -> None:
    for way in site.ways.values():
        assert way.pause("Review") is None
        wait_until("it is paused", lambda: site.paused("Review") == ["polls", "agents"])
        assert way.resume("Review") is None
        wait_until("it goes on", lambda: site.paused("Review") == [])


ORDERS: dict[str, Order] = {
    "comment": lambda way, task: way.comment(task, "Hello"),
    "move": lambda way, task: way.move(task, "Done"),
    "dispatch": dispatch,
    "cancel": lambda way, task: way.cancel(task, "so"),
    "requeue": requeue,
}


def refusal(site: Site, act: Order, queue: str = "Todo") -> str:
    """The words with which both ways refuse the same; nothing must have come of it."""
    seen = site.compare(queue, act)
    assert seen["refused"] is not None
    assert (seen["queue"], seen["comments"]) == (queue, [])
    return seen["refused"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_unknown_task_is_refused_alike(site: Site, order: str) -> None:
    known = site.api.board.create_task("Todo", "Another").id
    over_http, by_command = [ORDERS[order](way, "nope") for way in site.ways.values()]
    assert over_http == by_command
    assert by_command is not None
    assert by_command.startswith("No task has the id 'nope'. The open tasks are: ")
    assert f"{known!r} (Another)" in by_command


def test_an_unknown_queue_or_route_is_refused_alike(site: Site) -> None:
    created = [way.create("Tood", "New", "") for way in site.ways.values()]
    assert created[0] == created[1]
    assert "No queue is called 'Tood'. Did you mean 'Todo'?" in str(created[0])
    assert "No queue is called 'Dome'" in refusal(site, lambda w, t: w.move(t, "Dome"))
    for words in (
        refusal(site, lambda way, _: way.pause("Reviw")),
        refusal(site, lambda way, _: way.resume("Reviw")),
        refusal(site, lambda way, task: way.requeue(task, "Reviw"), "Failed"),
    ):
        assert words.startswith("No route watches 'Reviw'. Did you mean 'Review'? Watched are:")
    assert "'Backlog', which no route watches" in refusal(site, dispatch, "Backlog")


def test_a_task_that_is_busy_idle_or_no_dead_letter_is_refused_alike(site: Site) -> None:
    for order in (dispatch, requeue):

        def busy(way: Way, task: str, order: Order = order) -> str:
            run_id, _ = site.api.start_run(task)
            return str(order(way, task)).replace(run_id, "RUN")

        assert "has an agent run already: " in refusal(site, busy)
    assert "there is nothing to cancel" in refusal(site, ORDERS["cancel"])
    assert "is no dead letter" in refusal(site, requeue)


def test_a_board_that_cannot_be_read_is_told_alike(site: Site) -> None:
    board = site.folder / "board.json"
    whole, task = board.read_text(), site.api.board.create_task("Todo", "Fix it").id
    board.write_text("{")
    try:
        for name, order in ORDERS.items():
            over_http, by_command = [order(way, task) for way in site.ways.values()]
            assert over_http == by_command, name
            assert "board.json" in str(by_command)
    finally:
        board.write_text(whole)


def test_an_answer_that_the_board_loses_is_told_alike_and_nothing_is_done_twice(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(call: str) -> None:
        whole = getattr(JsonFileAdapter, call)

        def losing(*args: Any, **kwargs: Any) -> None:
            whole(*args, **kwargs)
            raise AnswerLostError("The board's answer was lost.")

        monkeypatch.setattr(JsonFileAdapter, call, losing)

    tasks = {name: site.api.board.create_task("Backlog", "Fix it").id for name in site.ways}
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    for call in ("create_task", "add_comment", "move_task"):
        lose(call)
    with beside(site.api):
        for name, way in site.ways.items():
            assert way.create("Todo", name, "") == "The board's answer was lost."
            assert way.comment(tasks[name], "Hello") == "The board's answer was lost."
            assert way.move(tasks[name], "Done") == "The board's answer was lost."
    assert [site.api.board.get_task(i).name for i in site.ids("Todo")] == list(site.ways)
    over_http, by_command = [site.outcome(i) for i in tasks.values()]
    assert over_http == by_command
    assert (over_http["queue"], len(over_http["comments"])) == ("Done", 1)


def test_a_route_that_is_not_deployed_is_told_alike(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = load(tmp_path, app_name("same"), monkeypatch)
    with served(dispatcher, prefect_api, deployed=False) as api:
        site = Site(api, tmp_path, {"http": OverHttp(api), "command": ByCommand(cli)})
        orders: list[Order] = [
            dispatch,
            lambda way, _: way.pause("Todo"),
            lambda way, _: way.resume("Todo"),
        ]
        for order in orders:
            assert "athanore deploy" in refusal(site, order)
