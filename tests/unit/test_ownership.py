"""Whose a task is: the first route by rank that watches its queue and takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter, Task
from athanore.errors import (
    AmbiguousRouteError,
    BoardUnavailableError,
    MatchError,
    NotFoundError,
    RouteError,
)
from athanore.models import Comment
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import find_route, needs, owner, takes, watched, watching
from athanore.runtime.routes.route_registry import KnownRoute, Routes
from athanore.services.owners import owners
from tests.harness import app_name, prompt


def routes_of(*options: dict[str, Any]) -> Routes:
    dispatcher = AgentDispatcher("true", name="whose")
    for number, given in enumerate(options):
        said: dict[str, Any] = {"queue_name": "Todo", "name": f"r{number}", **given}
        dispatcher.route(**said)(prompt)
    return {name: KnownRoute(route) for name, route in dispatcher.routes.items()}


def always(says: bool) -> Callable[[Task], bool]:
    return lambda task: says


def task(*labels: str, queue: str = "Todo", assignees: tuple[str, ...] = ()) -> Task:
    return Task("1", "Task", queue, labels=labels, assignees=assignees)


def name_of(routes: Routes, one: Task) -> str | None:
    found = owner(routes, one)
    return None if found is None else found.name


async def test_a_match_that_takes_long_holds_nobody_else_up() -> None:
    board = MemoryAdapter(["Todo", "In Progress"])
    dispatcher = AgentDispatcher("true", name=app_name("match"), queue_backend=board)
    threads: list[int] = []

    def match(_: Task) -> bool:
        threads.append(threading.get_ident())
        return True

    dispatcher.route("Todo", name="some", match=match)(prompt)
    app = App("run.py:dispatcher", dispatcher)
    routes: Routes = {name: KnownRoute(r) for name, r in dispatcher.routes.items()}
    assert (await owners(app, routes, [task()])).routes == {"1": "some"}
    assert threads and threading.get_ident() not in threads


LABELS = [(), ("a",), ("b",), ("a", "b")]
PEOPLE = [(), ("x",), ("y",), ("x", "y")]


@pytest.mark.parametrize("wanted", LABELS)
@pytest.mark.parametrize("unwanted", LABELS)
@pytest.mark.parametrize("people", PEOPLE)
def test_a_route_takes_what_all_its_filters_take(
    wanted: tuple[str, ...], unwanted: tuple[str, ...], people: tuple[str, ...]
) -> None:
    routes = routes_of({"labels": wanted, "without_labels": unwanted, "assignees": people})
    route = routes["r0"].route
    for labels, assigned, says in product(LABELS, PEOPLE, (True, False)):
        expected = (
            all(w in labels for w in wanted)
            and not any(u in labels for u in unwanted)
            and (not people or any(p in assigned for p in people))
        )
        one = task(*labels, assignees=assigned)
        assert takes(route, one) is expected
        assert owner(routes, one) == (route if expected else None)
        asked = routes_of(
            {
                "labels": wanted,
                "without_labels": unwanted,
                "assignees": people,
                "match": always(says),
            }
        )
        assert takes(asked["r0"].route, one) is (expected and says)


def test_the_first_route_by_rank_is_the_owner() -> None:
    routes = routes_of(
        {"labels": ["docs"]}, {"labels": ["bug"], "priority": 1}, {"without_labels": ["later"]}
    )
    assert name_of(routes, task("docs", "bug")) == "r1"
    assert name_of(routes, task("docs")) == "r0"
    assert name_of(routes, task()) == "r2"
    assert name_of(routes, task("later")) is None
    assert name_of(routes, task(queue="Elsewhere")) is None


def test_a_match_that_raises_leaves_the_task_to_nobody() -> None:
    def broken(_: Task) -> bool:
        raise ValueError("no such field")

    routes = routes_of({"labels": ["first"]}, {"match": broken}, {})
    assert name_of(routes, task("first")) == "r0", "it is asked for what comes to it only"
    with pytest.raises(MatchError, match=r"Task '1' is held: match= of route 'r1' fails on it"):
        owner(routes, task())


@pytest.mark.parametrize(
    "options",
    [
        ({}, {"labels": ["a"]}),
        ({"labels": ["a"]}, {}, {"labels": ["b"]}),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}),
        ({"labels": ["a"], "assignees": ["x"]}, {"assignees": ["x"], "labels": ["a"]}),
        ({"labels": ["a"], "priority": 2}, {"priority": 1}),
        ({}, {}),
    ],
)
def test_routes_of_which_one_would_get_nothing_are_refused(
    options: tuple[dict[str, Any], ...],
) -> None:
    with pytest.raises(RouteError, match=r"so none is left for|take the same tasks"):
        routes_of(*options)


def test_what_a_match_needs_is_named_and_known() -> None:
    routes = routes_of({"match": bool, "needs": ["comments"]}, {})
    assert needs(routes, "Todo") and not needs(routes, "Other")
    with pytest.raises(RouteError, match=r"needs=\['prices'\] must be of"):
        routes_of({"match": bool, "needs": ["prices"]})


async def test_owners_are_told_with_what_the_board_has_to_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = MemoryAdapter(["Todo", "In Progress"], user="bot")
    dispatcher = AgentDispatcher("true", name=app_name("owners"), queue_backend=board)

    def is_approved(one: Task) -> bool:
        return any(c.text == "approved" for c in one.comments)

    def is_odd(one: Task) -> bool:
        return 1 // len(one.name) > 0

    dispatcher.route("Todo", name="bots", assignees=["bot", "ann"])(prompt)
    dispatcher.route("Todo", name="approved", match=is_approved, needs=["comments"])(prompt)
    dispatcher.route("Todo", name="odd", match=is_odd)(prompt)
    app = App("run.py:dispatcher", dispatcher)
    ids = [board.create_task("Todo", name).id for name in ("mine", "anns", "good", "o", "even")]
    board.update_task(ids[0], assignees=["bot"])
    board.update_task(ids[1], assignees=["bot", "ann"])
    board.add_comment(ids[2], "approved")
    tasks = [*board.get_ready_tasks(["Todo"]), Task("9", "gone", "Todo")]
    assert all(t.comments == () for t in tasks)
    found = await owners(app, app.routes.in_code(), tasks)
    assert found.routes == {ids[1]: "bots", ids[2]: "approved", ids[3]: "odd"}
    assert found.held == {}
    whole, error = board.get_task, BoardUnavailableError("status 500")
    unreadable = {ids[2]}

    def get_task(task_id: str) -> Task:
        if task_id in unreadable:
            raise error
        return whole(task_id)

    monkeypatch.setattr(board, "get_task", get_task)
    found = await owners(app, app.routes.in_code(), tasks)
    assert found.routes == {ids[1]: "bots", ids[3]: "odd"}, "one card keeps no other waiting"
    assert (found.unread, found.unknown) == ({ids[2]: error}, {ids[2]})
    found.check_readable()
    unreadable.update(ids)
    found = await owners(app, app.routes.in_code(), tasks)
    with pytest.raises(BoardUnavailableError):
        found.check_readable()
    empty = Task(ids[4], "", "Todo", comments=(Comment("x"),))
    with pytest.raises(MatchError):
        owner(app.routes.in_code(), empty)


def test_a_route_is_found_by_its_name_or_by_a_queue_that_only_it_watches() -> None:
    routes = routes_of(
        {"labels": ["a"]}, {"labels": ["b"], "priority": 1}, {"queue_name": "Review"}
    )
    assert watched(routes) == ["Todo", "Review"]
    assert [k.route.name for k in watching(routes, "Todo")] == ["r1", "r0"]
    assert find_route(routes, "r0").route.name == "r0"
    assert find_route(routes, "Review").route.name == "r2"
    with pytest.raises(AmbiguousRouteError, match="name one of them: 'r1', 'r0'") as caught:
        find_route(routes, "Todo")
    assert caught.value.names == ["r1", "r0"]
    with pytest.raises(NotFoundError, match=r"No route watches 'Revieww'.* Did you mean 'Review'"):
        find_route(routes, "Revieww")
