"""An app on a store of runs: the double in memory, or the Prefect that `athanore up` starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event, Resource
from prefect.states import (
    Pending,
    Running,
)

from athanore import AgentDispatcher, MemoryAdapter
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.connection.clock import Clock
from athanore.runs.dispatching import Dispatching
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from tests.harness import app_name, prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory, no_events

__all__ = ["Place", "no_events", "place"]


class Place:
    """An app with one deployed route, on a Prefect that may be real."""

    def __init__(self, client: MemoryRunStore | PrefectRunStore, name: str) -> None:
        self.client = client
        self.app = name
        self.dispatching = Dispatching(name, Clock())
        self.dispatcher = AgentDispatcher(
            "true", queue_backend=MemoryAdapter(["Todo", "Next"]), name=name
        )
        self.dispatcher.route("Todo")(prompt)
        self.dispatcher.route("Next")(prompt)

    @property
    def route(self) -> Route:
        return self.dispatcher.routes["Todo"]

    async def deployed(self) -> None:
        for route in self.dispatcher.routes.values():
            if isinstance(self.client, MemoryRunStore):
                deploy_in_memory(self.client, self.app, route.name, route.queue_name)
        if not isinstance(self.client, MemoryRunStore):
            await deploy(self.client, plan(self.dispatcher, "run.py:dispatcher"))

    async def with_routes(self, queue: str, **options: Mapping[str, Any]) -> App:
        """Another app of this name on a board of its own; `options` of its routes, by name."""
        board = MemoryAdapter([queue, "In Progress", "Done"])
        self.dispatcher = AgentDispatcher("true", queue_backend=board, name=self.app)
        for name, said in options.items():
            self.dispatcher.route(queue, name=name, **said)(prompt)
        await self.deployed()
        return App("run.py:dispatcher", self.dispatcher)

    async def limited(self, queue: UUID | None, limit: int) -> None:
        """Have a route's work queue let so many work at once."""
        assert queue is not None
        if isinstance(self.client, MemoryRunStore):
            self.client.queues[queue].concurrency_limit = limit
        else:
            await self.client.update_work_queue(queue, concurrency_limit=limit)

    async def came(self, event: str, resource: str) -> None:
        """Have an event come in, as of a program whose clock is wrong."""
        if isinstance(self.client, MemoryRunStore):
            self.client.events[event, resource] = datetime.now(UTC)
            return
        sent = Event(
            event=event,
            resource=Resource({"prefect.resource.id": resource}),
            occurred=cast(Any, datetime.now(UTC) - timedelta(hours=3)),
        )
        await self.client.request("POST", cast(Any, "/events"), json=[sent.model_dump(mode="json")])

    async def removed(self) -> None:
        if not isinstance(self.client, MemoryRunStore):
            for deployment in (await deployments_of(self.client, self.app)).values():
                await self.client.delete_deployment(deployment.id)

    async def dispatched(self, task: str = "1", queue: str = "Todo") -> FlowRun:
        route = self.dispatcher.routes[queue]
        return await self.dispatching.dispatch(self.client, route, Task(task, "Fix it", "", queue))

    async def put(self, run: FlowRun, state: State[Any], *, force: bool = False) -> bool:
        """Propose or impose a state; True if the run has it."""
        if force:
            await self.client.impose(run.id, state)
            return True
        return (await self.client.propose(run.id, state)).accepted

    async def at_work(self, task: str = "1") -> FlowRun:
        run = await self.dispatched(task)
        assert await self.put(run, Pending())
        assert await self.put(run, Running())
        return await self.now(run)

    async def now(self, run: FlowRun) -> FlowRun:
        return await self.client.read_run(run.id)

    async def found(self, *states: StateType, **wanted: Any) -> list[FlowRun]:
        return await store.find_runs(self.client, self.app, states, **wanted)


@pytest.fixture(params=["memory", "prefect"])
async def place(request: pytest.FixtureRequest) -> AsyncGenerator[Place]:
    if request.param == "memory":
        place = Place(MemoryRunStore(), app_name("store"))
        await place.deployed()
        yield place
        return
    async with PrefectRunStore(request.getfixturevalue("prefect_api")) as client:
        place = Place(client, app_name("store"))
        await place.deployed()
        yield place
        await place.removed()
