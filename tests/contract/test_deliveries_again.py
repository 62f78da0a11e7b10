"""A webhook's delivery that could not be acted on: it counts when the tracker sends it again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.api.routers import webhooks
from athanore.errors import BoardUnavailableError, PrefectUnavailableError
from athanore.queue_adapters.tracker.picture import Picture
from athanore.runtime.apps import App
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from tests.harness import app_name, prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory

SECRET = "secret-of-the-webhook"
QUEUES = ["Todo", "In Progress", "Done"]

type Deliver = Callable[[], list[str]]


@contextmanager
def on_github() -> Generator[Deliver]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        told = double.delivery(double.issue("a", "agent:Todo")["number"], SECRET)
        yield lambda: adapter.queues_of_delivery(*told, SECRET, QUEUES)


@contextmanager
def on_a_github_project() -> Generator[Deliver]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(QUEUES)
        with closing(double.project_board().create_adapter()) as adapter:
            row = double.issue("a")
            double.project.add(row, "Todo")
            told = double.card_delivery(row, SECRET)
            yield lambda: adapter.queues_of_delivery(*told, SECRET, QUEUES)


@contextmanager
def on_gitlab() -> Generator[Deliver]:
    with gitlab_double() as double, closing(double.board().create_adapter()) as adapter:
        told = double.delivery(double.issue("a", "agent::Todo")["iid"], SECRET)
        yield lambda: adapter.queues_of_delivery(*told, SECRET, QUEUES)


@contextmanager
def on_jira() -> Generator[Deliver]:
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        told = double.delivery(double.issue("a", "Todo")["key"], SECRET)
        yield lambda: adapter.queues_of_delivery(*told, SECRET, QUEUES)


@contextmanager
def on_linear() -> Generator[Deliver]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        told = double.issue_delivery(double.issue("a", "Todo")["id"], SECRET)
        yield lambda: adapter.queues_of_delivery(*told, SECRET, QUEUES)


BOARDS: dict[str, Callable[[], AbstractContextManager[Deliver]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "jira": on_jira,
    "linear": on_linear,
}


@pytest.mark.parametrize("board", BOARDS)
def test_a_delivery_that_could_not_be_acted_on_counts_when_it_comes_again(
    board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Picture[Any]) -> None:
        raise BoardUnavailableError("The board is away.")

    with BOARDS[board]() as deliver:
        with monkeypatch.context() as patch:
            patch.setattr(Picture, "expire", away)
            with pytest.raises(BoardUnavailableError):
                deliver()
        assert deliver() == ["Todo"]
        assert deliver() == [], "it comes again"


async def test_what_could_not_be_polled_is_polled_when_the_delivery_comes_again() -> None:
    board = MemoryAdapter(QUEUES)
    dispatcher = AgentDispatcher("true", name=app_name("webhooks"), queue_backend=board)
    dispatcher.route("Todo")(prompt)
    app, store = App("run.py:dispatcher", dispatcher), MemoryRunStore()
    deploy_in_memory(store, app.name, "Todo")
    is_away = True

    @asynccontextmanager
    async def client() -> AsyncGenerator[MemoryRunStore]:
        if is_away:
            raise PrefectUnavailableError("Prefect is away.")
        yield store

    service: Any = SimpleNamespace(app=app, prefect=SimpleNamespace(client=client))
    routes = await app.routes.read(store)
    poll = webhooks._poll  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(PrefectUnavailableError):
        await poll(service, routes, ["Todo"])
    is_away = False
    assert (await poll(service, routes, [])).polled == ["Todo"], "the board counts it once"
    assert (await poll(service, routes, [])).polled == []
