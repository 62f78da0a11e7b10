"""Dead letters of a queue that several routes watch, and several dead letters at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker

from athanore.cli.tasks import acting
from athanore.errors import AmbiguousRouteError, DispatchError, TaskNotFoundError
from athanore.services import dead_letters, runs
from athanore.services.showing.views import DeadLetter
from tests.harness import prompt
from tests.memory_store import deploy_in_memory
from tests.rules_site import Access, Site


@pytest.fixture(autouse=True)
def no_events() -> Generator[None]:
    EventsWorker.set_client_override(NullEventsClient)
    yield
    EventsWorker.set_client_override(None)


class Several(Site):
    """Two routes on the queue Todo, and one on Next; the task was put among the dead letters."""

    further = ()

    def __init__(self, *names: str, labels: list[str]) -> None:
        super().__init__(name=names[0], labels=[names[0]])
        for name in names[1:]:
            wanted: dict[str, Any] = {} if name == "Todo" else {"labels": [name]}
            self.dispatcher.route("Todo", name=name, dead_letter_queue="Failed", **wanted)(prompt)
        for name in names[1:]:
            deploy_in_memory(self.client, self.app.name, name)
        self.board.update_task(self.task_id, labels=labels)
        self.board.move_task(self.task_id, "Failed")

    async def requeue(self, name: str | None) -> str:
        task = self.board.get_task(self.task_id)
        done = await dead_letters.requeue(Access(self), self.app, task, "eve", name)
        return done.route


@pytest.mark.parametrize("name", ["Todo", "features", None])
async def test_the_owner_starts_again(name: str | None) -> None:
    site = Several("bugs", "features", labels=["features"])
    assert await site.requeue(name) == "features"
    assert site.place == "Todo"
    assert site.comments == ["Requeued by eve: fresh start in 'Todo'."]


@pytest.mark.parametrize("name", ["Todo", None])
async def test_also_where_another_route_is_called_as_the_queue(name: str | None) -> None:
    site = Several("bugs", "Todo", labels=["bugs"])
    assert await site.requeue(name) == "bugs"
    task = site.board.get_task(site.task_id)
    routes = await site.app.routes.read(site.client)
    assert (await runs.route_to_take(site.app, routes, task, "Todo")).name == "bugs"


@pytest.mark.parametrize(
    ("name", "error"),
    [("Todo", AmbiguousRouteError), (None, DispatchError), ("bugs", DispatchError)],
)
async def test_nothing_is_said_and_moved_before_it_is_clear(
    name: str | None, error: type[Exception]
) -> None:
    site = Several("bugs", "features", labels=["chores"])
    with pytest.raises(error):
        await site.requeue(name)
    assert (site.place, site.comments) == ("Failed", [])


def test_one_that_is_gone_keeps_no_other_from_its_fresh_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*_: object) -> list[DeadLetter]:
        return [DeadLetter(n, "Fix", "Failed", None, "", 1, "", None, None, None) for n in "12"]

    def requeue(_: str | None, task: str, __: str | None) -> None:
        if task == "1":
            raise TaskNotFoundError(task)
        started.append(task)

    started: list[str] = []
    monkeypatch.setattr(acting, "from_app", read)
    monkeypatch.setattr(acting, "_requeue", requeue)
    assert acting.requeue(all_=True) == 1
    assert started == ["2"]
    assert "'1'" in capsys.readouterr().err
