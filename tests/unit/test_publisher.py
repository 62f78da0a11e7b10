"""Which route publishes what was done for a task, and which routes are looked at for answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Failed, Pending, Running

from athanore import AgentDispatcher, DirectoryWorkspace, GitHubForge, GitWorkspace, MemoryAdapter
from athanore.errors import DispatchError, RouteError, TaskBusyError
from athanore.routing.routes import Route
from athanore.runs.port import RunStore
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.definitions import RouteDefinition, RouteOptions, define_anew
from athanore.runtime.routes.route_registry import KnownRoute, Routes
from athanore.services.pull_requests import publishing, reactions
from athanore.worker.duties import pull_watch
from tests.harness import prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory, no_events

__all__ = ["no_events"]

QUEUES = ["Todo", "In Progress", "Review", "Look"]


class Site:
    """An app with one board and two repositories, as docs/boards.md shows it."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, board: MemoryAdapter | None = None
    ) -> None:
        self.prefect = MemoryRunStore()
        self.board = board or MemoryAdapter(QUEUES)
        self.dispatcher = AgentDispatcher("true", queue_backend=self.board, name="two")
        for name in ("website", "api"):
            space = GitWorkspace(folder / f"{name}.git", root=folder / name)
            self.dispatcher.route(
                "Todo",
                name=name,
                labels=[name],
                workspace=space,
                publish="branch",
                dead_letter_queue="Look",
                done_queue="Review",
            )(prompt)
        self.dispatcher.route("Review", done_queue="Look")(prompt)
        self.app = App("run.py:dispatcher", self.dispatcher)
        for name in self.dispatcher.routes:
            deploy_in_memory(self.prefect, self.app.name, name)
        self.task = self.board.create_task("Todo", "Fix it")
        self.by: list[str] = []

        async def publish(app: App, route: Route, *_: object, **__: object) -> Any:
            self.by.append(route.name)
            return publishing.Published("Published.")

        monkeypatch.setattr(publishing, "publish", publish)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[RunStore]:
        yield self.prefect

    async def worked(self, route: str, *ends: Any) -> FlowRun:
        """A run of the task on a route, that has ended."""
        found = self.dispatcher.routes[route]
        task = replace(self.task, queue_name=found.queue_name)
        run = await self.app.dispatching.dispatch(self.prefect, found, task)
        for state in (Pending(), Running(), *ends):
            await self.prefect.impose(run.id, state)
        await self.prefect.add_labels(run.id, {"athanore.start": 1})
        return run

    async def publish(self) -> str:
        """Have a person publish the task from the dead letters; returns the route that did it."""
        self.board.move_task(self.task.id, "Look")
        await publishing.publish_by_hand(self, self.app, self.task.id, "me", allow_ci_changes=False)
        return self.by[-1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


async def test_the_route_that_worked_on_a_task_publishes_it(site: Site) -> None:
    await site.worked("api", Failed())
    assert await site.publish() == "api"


async def test_a_run_that_never_had_an_agent_does_not_say_whose_the_work_is(site: Site) -> None:
    await site.worked("api", Failed())
    never = await site.worked("website", Cancelled(message="by me"))
    await site.prefect.add_labels(never.id, {"athanore.start": 0})
    await site.worked("website", Cancelled(name=StateName.REJECTED))
    assert await site.publish() == "api"


class Typed(MemoryAdapter):
    """A board whose tasks people call FIX-1, FIX-2 and so on."""

    def id_of(self, text: str) -> str:
        return text.removeprefix("FIX-")


async def test_a_task_at_work_is_not_published_by_whatever_it_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = Site(tmp_path, monkeypatch, Typed(QUEUES))
    await site.worked("api")
    with pytest.raises(TaskBusyError):
        await publishing.publish_by_hand(
            site, site.app, f"FIX-{site.task.id}", "me", allow_ci_changes=False
        )
    assert site.by == []


async def test_a_later_stage_that_publishes_nothing_does_not_stand_in_the_way(site: Site) -> None:
    await site.worked("website", Failed())
    await site.worked("api", Completed())
    await site.worked("Review", Completed())
    assert await site.publish() == "api"


async def test_without_a_run_a_route_that_is_alone_is_taken_and_of_several_none(
    site: Site,
) -> None:
    with pytest.raises(DispatchError, match="several may be meant: 'website', 'api'"):
        await site.publish()
    assert site.by == []


MANAGED = AgentDispatcher(
    "true", queue_backend=MemoryAdapter(QUEUES), name="managed", enable_queue_management=True
)


def made(workspace: Any, **options: Any) -> Route:
    """A route that is made over HTTP."""
    app = AgentDispatcher("true", queue_backend=MemoryAdapter(QUEUES), workspace=workspace)
    said = RouteOptions.model_validate({"prompt": "Work on {{ task.id }}", **options})
    route = define_anew(app, "Todo", "Todo", RouteDefinition(source="api", options=said))
    assert route is not None
    return route


@pytest.fixture
def space(tmp_path: Path) -> GitWorkspace:
    forge = GitHubForge("acme/toy", token="a token")
    return GitWorkspace(tmp_path / "toy.git", root=tmp_path / "root", forge=forge)


def test_a_route_over_http_may_have_a_queue_for_what_is_merged(space: GitWorkspace) -> None:
    route = made(space, publish="pull-request", merged_queue="Review")
    assert (route.publish, route.merged_queue) == ("pull-request", "Review")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"publish": "branch"}, "publish='branch' needs a workspace with git"),
        ({"expects": "commits"}, "expects='commits' needs a workspace with git"),
        ({"reactions": ["ci_failed"]}, "needs publish="),
        ({"merged_queue": "Review"}, "needs publish="),
        ({"approve_before": "publish"}, "approve_before='publish' needs publish="),
    ],
)
def test_options_over_http_need_the_same_others_as_in_the_code(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(RouteError, match=says):
        made(DirectoryWorkspace(tmp_path), **options)


def test_a_folder_of_its_own_is_refused_to_a_route_that_publishes(
    space: GitWorkspace, tmp_path: Path
) -> None:
    app = AgentDispatcher("true", queue_backend=MemoryAdapter(QUEUES), workspace=space)
    app.route("Todo", publish="branch")(prompt)
    said = RouteOptions.model_validate({"cwd": str(tmp_path)})
    source: Literal["code"] = "code"
    with pytest.raises(RouteError, match="publish='branch' needs a workspace with git"):
        define_anew(app, "Todo", "Todo", RouteDefinition(source=source, options=said))


async def test_pull_requests_of_a_route_made_over_http_are_looked_at(
    space: GitWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, prefect, looked = App("run.py:dispatcher", MANAGED), MemoryRunStore(), asyncio.Event()
    app = replace_margin(app)
    route = made(space, publish="pull-request", reactions=["ci_failed"])

    async def read(prefect: RunStore, *, fresh: bool = False) -> Routes:
        return {"Todo": KnownRoute(route, "api")}

    async def look(*_: object) -> int:
        looked.set()
        return 1

    monkeypatch.setattr(app.routes, "read", read)
    monkeypatch.setattr(reactions, "look", look)
    watch = asyncio.create_task(pull_watch.watch_pulls(prefect, app))
    try:
        await asyncio.wait_for(looked.wait(), 20)
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


def replace_margin(app: App) -> App:
    app.margins = replace(app.margins, pulls=timedelta(seconds=0.05))
    return app
