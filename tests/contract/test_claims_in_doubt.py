"""Claims in which the board fails at any moment: nothing is said to be unchanged that is claimed.

A claim that is made and reported as none leaves a task in progress with nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from athanore.errors import AnswerLostError, BoardAccessError, BoardError, BoardUnavailableError
from athanore.http_client.cache import Cache
from athanore.http_client.client import HttpClient
from athanore.queue_adapters.base import QueueAdapter, claim_task
from athanore.queue_adapters.gitlab import claims
from athanore.queue_adapters.jira import claims as jira_claims
from athanore.queue_adapters.jira import moves
from athanore.queue_adapters.linear import adapter as linear_adapter
from athanore.queue_adapters.planka import adapter as planka_adapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import planka_double

_MOST_REQUESTS = 40


@dataclass(frozen=True)
class Site:
    """A board.

    Attributes:
        new: makes a task in Todo, and returns its id.
        place: in which of the queues the server has a task.
        queues: what Todo and In Progress are called.
    """

    adapter: QueueAdapter
    new: Callable[[], str]
    place: Callable[[str], str]
    queues: tuple[str, str] = ("Todo", "In Progress")


@contextmanager
def on_github() -> Generator[Site]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            lambda: str(double.issue("Fix crash", "agent:Todo")["number"]),
            lambda task: "Todo" if "agent:Todo" in double.labels(int(task)) else "In Progress",
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(["Todo", "In Progress", "Done"])
        with (
            closing(double.project_board().create_adapter()) as adapter,
            closing(double.project_board().create_adapter()) as other,
        ):
            other.move_task(other.create_task("Todo", "another").id, "In Progress")
            yield Site(
                adapter,
                lambda: other.create_task("Todo", "Fix crash").id,
                lambda task: other.get_task(task).queue_name,
            )


@contextmanager
def on_gitlab(**options: Any) -> Generator[Site]:
    with gitlab_double() as double, closing(double.board(**options).create_adapter()) as adapter:
        doing = "agent::In Progress"
        yield Site(
            adapter,
            lambda: str(double.issue("Fix crash", "agent::Todo", "bug")["iid"]),
            lambda task: "In Progress" if doing in double.labels(int(task)) else "Todo",
        )


@contextmanager
def on_jira() -> Generator[Site]:
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(adapter, lambda: double.issue("Fix crash", "Todo")["key"], double.status)


@contextmanager
def on_linear() -> Generator[Site]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(adapter, lambda: double.issue("Fix crash")["id"], double.queue)


@contextmanager
def on_planka() -> Generator[Site]:
    with planka_double(lists=()) as double, closing(double.board().create_adapter()) as adapter:
        double.add_board("P", "B", lists=("Todo", "In Progress"))
        names = {row["id"]: f"P.B.{row['name']}" for row in double.state.rows("lists")}
        yield Site(
            adapter,
            lambda: double.card("Todo", "Fix crash")["id"],
            lambda task: names[double.state.rows("cards", id=task)[0]["listId"]],
            ("P.B.Todo", "P.B.In Progress"),
        )


class _Plain:
    """A board without `claim_task` of its own, whose claim is a move and a read."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        if name in ("claim_task", "user"):
            raise AttributeError(name)
        return getattr(self._adapter, name)


@contextmanager
def on_a_plain_board() -> Generator[Site]:
    with on_gitlab() as site:
        yield Site(_Plain(site.adapter), site.new, site.place)  # pyright: ignore[reportArgumentType]


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "gitlab-links": lambda: on_gitlab(blockers=True),
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
    "plain": on_a_plain_board,
}


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Each board; nothing waits, and nothing is believed that was read before."""
    monkeypatch.setattr(looking, "LOOKS", (0.0,))
    monkeypatch.setattr(claims, "LOOKS", ())
    monkeypatch.setattr(moves, "LOOKS", ())
    monkeypatch.setattr(jira_claims, "SETTLES", 0.0)
    monkeypatch.setattr(linear_adapter, "CLAIM_SETTLES", 0.0)
    monkeypatch.setattr(planka_adapter, "_CLAIM_SETTLES", 0.0)
    load = Cache[Any, Any].get

    def get(cache: Cache[Any, Any], key: Any) -> Any:
        cache.forget(key)
        return load(cache, key)

    monkeypatch.setattr(Cache, "get", get)
    with BOARDS[request.param]() as site:
        yield site


class _Fails:
    """Has requests fail from one on: all, after a lost answer perhaps, or reads only."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, how: str) -> None:
        self.reached = False
        self._left = at
        self._how = how
        self._send = HttpClient.send

        def send(client: HttpClient, method: str, path: str, **more: Any) -> httpx.Response:
            return self._next(client, method, path, **more)

        patch.setattr(HttpClient, "send", send)

    def _next(self, client: HttpClient, method: str, path: str, **more: Any) -> httpx.Response:
        reads = more.get("reads")
        reads = method == "GET" if reads is None else reads
        self._left -= 1
        if self._left > 0:
            return self._send(client, method, path, **more)
        if self._left == 0 and self._how == "lost" and not reads:
            self.reached = True
            self._send(client, method, path, **more)
            raise AnswerLostError("The answer was lost.")
        if reads or self._how != "refused":
            self.reached = True
            refused = BoardAccessError if self._how == "refused" else BoardUnavailableError
            raise refused("The board is away.")
        return self._send(client, method, path, **more)


@pytest.mark.parametrize("how", ["away", "refused", "lost"])
def test_a_claim_is_never_said_to_be_none_when_it_is_made(site: Site, how: str) -> None:
    source, target = site.queues
    made = 0
    for at in count(1):
        assert at < _MOST_REQUESTS
        task = site.new()
        told: BoardError | None = None
        with pytest.MonkeyPatch.context() as patch:
            fails = _Fails(patch, at, how)
            try:
                now = claim_task(site.adapter, task, source_queue=source, target_queue=target)
            except BoardError as exc:
                told = exc
            else:
                assert now.queue_name == target
        if site.place(task) == target:
            made += 1
            assert told is None or isinstance(told, AnswerLostError), (at, repr(told))
        if not fails.reached:
            assert told is None
            break
    assert made
