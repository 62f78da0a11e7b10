"""`deploy` against a real Prefect: what it makes, what it leaves alone, what it takes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun, StateType, WorkQueue
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Pending, Running
from prefect.workers.process import ProcessJobConfiguration

from athanore import AgentDispatcher, AgentOutcome, AgentResult, ConfigurationError, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.deployments import Deployed, deploy
from athanore.deployments.plan import plan
from athanore.flows.sweeping.sweep import end_lost_polls
from athanore.runs import store
from athanore.runs.capacity import pausing
from athanore.runs.connection.clock import Clock
from athanore.runs.dispatching import Dispatching
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.margins import Margins
from athanore.runtime.routes.route_registry import deployments_of
from athanore.runtime.versions import app_version
from tests.harness import app_name, running

QUEUES = ["Todo", "Review", "Docs", "Extra", "In Progress", "Done", "Failed"]


def app(name: str, *queues: str, priorities: Sequence[int | None] = (), **options: Any) -> Any:
    """An app that watches queues, with these priorities."""
    board = MemoryAdapter(list(dict.fromkeys([*QUEUES, *queues])))
    dispatcher = AgentDispatcher("true", name=name, queue_backend=board, api_port=0, **options)
    for number, queue in enumerate(queues):
        priority = priorities[number] if number < len(priorities) else None
        dispatcher.route(queue, priority=priority)(prompt)
    return dispatcher


def prompt(task_id: str, task_name: str) -> str:
    return f"{task_id}: {task_name}"


@asynccontextmanager
async def connected(prefect_api: str, *names: str) -> AsyncGenerator[PrefectRunStore]:
    """A client; the deployments of these apps are gone afterwards."""
    async with PrefectRunStore(prefect_api) as client:
        try:
            yield client
        finally:
            for name in names:
                for deployment in (await deployments_of(client, name)).values():
                    await client.delete_deployment(deployment.id)


async def put(client: PrefectRunStore, dispatcher: AgentDispatcher, **options: Any) -> Deployed:
    return await deploy(client, plan(dispatcher, "run.py:dispatcher"), **options)


async def queues(client: PrefectRunStore, name: str) -> list[WorkQueue]:
    """The work queues of an app's agents, the most urgent first."""
    return sorted(await client.work_queues(f"{name}-agents"), key=lambda q: q.priority or 0)


async def order(client: PrefectRunStore, name: str) -> list[tuple[str, int | None]]:
    return [(q.name, q.priority) for q in await queues(client, name)]


async def everything(client: PrefectRunStore, name: str) -> dict[str, Any]:
    """All that a deploy makes, with ids and the times of the last change."""
    found: dict[str, Any] = {}
    for (_, deployment), d in (await deployments_of(client, name)).items():
        schedules = [(s.id, s.updated, s.active) for s in d.schedules]
        found[f"{deployment} {d.entrypoint}"] = (d.id, d.updated, d.version, d.paused, schedules)
    for kind in ("agents", "polls"):
        pool = await client.read_work_pool(f"{name}-{kind}")
        found[pool.name] = (pool.id, pool.concurrency_limit, pool.description)
        for queue in await client.work_queues(pool.name):
            found[f"{pool.name}/{queue.name}"] = (queue.id, queue.priority, queue.is_paused)
    return found


async def agent_run(client: PrefectRunStore, dispatcher: AgentDispatcher, queue: str) -> FlowRun:
    """Have a task in a queue, and the agent run that waits for it."""
    task = dispatcher.board.create_task(queue, f"A task in {queue}")
    dispatching = Dispatching(dispatcher.name, Clock())
    return await dispatching.dispatch(client, dispatcher.routes[queue], task)


async def test_the_first_polls_are_scheduled_when_a_deploy_returns(prefect_api: str) -> None:
    name = app_name("at-once")
    async with connected(prefect_api, name) as client:
        await put(client, app(name, "Todo", poll_interval=600))
        polls = await store.find_polls(client, name, "Todo", store.WAITING)
        assert len(polls) >= 3, "a worker's first look would find nothing"
        due = min(p.expected_start_time for p in polls if p.expected_start_time)
        assert due <= datetime.now(UTC) + timedelta(seconds=600)

        (poll,) = [d for d in (await deployments_of(client, name)).values() if d.schedules]
        await client.pause_deployment(poll.id)
        await put(client, app(name, "Todo", poll_interval=900))
        waiting = await store.find_polls(client, name, "Todo", store.WAITING)
        assert waiting == [], "a paused route was scheduled"


@pytest.mark.smoke
async def test_a_second_deploy_changes_nothing(prefect_api: str) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo", "Review", priorities=[2, 1])
    async with connected(prefect_api, name) as client:
        first = await put(client, dispatcher)
        before = await everything(client, name)
        second = await put(client, dispatcher)
        assert first.changes
        assert second.changes == []
        assert second.ids == first.ids
        assert await everything(client, name) == before
        assert sorted(first.ids) == [
            f"{flow}/{name}:{queue}"
            for flow in ("poll-route", "run-agent")
            for queue in ("Review", "Todo")
        ]


async def test_names_that_prefect_does_not_take(prefect_api: str) -> None:
    name = app_name("deploy")
    awkward = ["My Project.My Board.Todo", "A/B & C?", "100%#", "Über: alles", "default", "."]
    dispatcher = app(name, *awkward)
    async with connected(prefect_api, name) as client:
        await put(client, dispatcher)
        assert (await put(client, dispatcher)).changes == []
        for queue in awkward:
            run = await agent_run(client, dispatcher, queue)
            assert run.parameters["queue_name"] == queue
        assert [p for _, p in await order(client, name)] == list(range(1, len(awkward) + 1))


@pytest.mark.postgres
async def test_queues_have_exactly_the_planned_priorities(prefect_api: str) -> None:
    name = app_name("deploy")
    async with connected(prefect_api, name) as client:
        await put(client, app(name, "Todo", "Review", "Docs"))
        assert await order(client, name) == [
            ("Todo", 1), ("Review", 2), ("Docs", 3), ("default", 4),
        ]  # fmt: skip
        await put(client, app(name, "Todo", "Extra", "Review", "Docs", priorities=[9, 5, 1, 5]))
        assert await order(client, name) == [
            ("Review", 1), ("Extra", 2), ("Docs", 3), ("Todo", 4), ("default", 5),
        ]  # fmt: skip
        await client.create_work_queue("theirs", priority=1, work_pool_name=f"{name}-agents")
        again = app(name, "Todo", "Extra", "Review", "Docs", priorities=[1, 2, 3, 4])
        await put(client, again)
        assert await order(client, name) == [
            ("Todo", 1), ("Extra", 2), ("Review", 3), ("Docs", 4), ("theirs", 5), ("default", 6),
        ]  # fmt: skip
        assert (await put(client, again)).changes == []


async def test_the_codes_limits_win(prefect_api: str) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo", max_concurrent_agents=4)
    async with connected(prefect_api, name) as client:
        await put(client, dispatcher)
        (todo, _) = await queues(client, name)
        await client.update_work_pool(f"{name}-agents", WorkPoolUpdate(concurrency_limit=99))
        await client.update_work_queue(todo.id, concurrency_limit=7)
        changes = (await put(client, dispatcher)).changes
        assert changes == [f"work pool '{name}-agents': limit 4", "work queue 'Todo': no limit"]
        assert (await client.read_work_pool(f"{name}-agents")).concurrency_limit == 4
        (todo, _) = await queues(client, name)
        assert todo.concurrency_limit is None


@pytest.mark.postgres
@pytest.mark.smoke
async def test_a_pause_survives_a_deploy(prefect_api: str) -> None:
    name = app_name("deploy")
    async with connected(prefect_api, name) as client:
        await put(client, app(name, "Todo", "Review"))
        await pausing.pause(client, name, "Todo")
        # Another poll interval: the deployments are written anew.
        done = await put(client, app(name, "Todo", "Review", poll_interval=77))
        assert len(done.changes) == 4
        assert await pausing.paused_parts(client, name, "Todo") == ("polls", "agents")
        assert await pausing.paused_parts(client, name, "Review") == ()
        await pausing.resume(client, name, "Todo")
        assert await pausing.paused_parts(client, name, "Todo") == ()


async def test_a_schedule_switched_off_in_the_ui_stays_off(prefect_api: str) -> None:
    name = app_name("deploy")
    async with connected(prefect_api, name) as client:
        await put(client, app(name, "Todo"))
        poll = await client.read_deployment_by_name(f"poll-route/{name}:Todo")
        await client.update_deployment_schedule(poll.id, poll.schedules[0].id, active=False)
        assert await pausing.paused_parts(client, name, "Todo") == ("polls",)
        await put(client, app(name, "Todo", poll_interval=77))
        assert await pausing.paused_parts(client, name, "Todo") == ("polls",)
        await pausing.resume(client, name, "Todo")
        assert await pausing.paused_parts(client, name, "Todo") == ()


@pytest.mark.postgres
async def test_a_removed_route_leaves_waiting_tasks_in_their_queue(prefect_api: str) -> None:
    name, neighbour = app_name("deploy"), app_name("deploy")
    dispatcher = app(name, "Todo", "Review")
    async with connected(prefect_api, name, neighbour) as client:
        await put(client, app(neighbour, "Todo", "Review"))
        await put(client, dispatcher)
        waiting = await agent_run(client, dispatcher, "Review")
        stays = await agent_run(client, dispatcher, "Todo")
        others = await everything(client, neighbour)
        done = await put(client, app(name, "Todo"))
        assert "removed route 'Review'" in done.changes
        assert done.lingering == []
        gone = await client.read_flow_run(waiting.id)
        assert (gone.state_name, gone.state and gone.state.message) == (
            "Route removed",
            "The route was removed.",
        )
        assert dispatcher.board.get_queue("Review").task_count == 1
        assert {k for _, k in await deployments_of(client, name)} == {f"{name}:Todo"}
        assert [q.name for q in await queues(client, name)] == ["Todo", "default"]
        assert (await client.read_flow_run(stays.id)).state_name == "Scheduled"
        assert await everything(client, neighbour) == others


@pytest.mark.postgres
@pytest.mark.smoke
async def test_a_removed_route_stays_until_its_agents_have_finished(prefect_api: str) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo", "Review")
    async with connected(prefect_api, name) as client:
        await put(client, dispatcher)
        run = await agent_run(client, dispatcher, "Review")
        for state in (Pending(), Running()):
            await client.set_flow_run_state(run.id, state)
        done = await put(client, app(name, "Todo"))
        assert done.lingering == ["Review"]
        assert (await client.read_flow_run(run.id)).state_name == "Running"
        review = next(q for q in await queues(client, name) if q.name == "Review")
        assert review.is_paused

        removing = asyncio.create_task(put(client, app(name, "Todo"), drain=timedelta(seconds=600)))
        await asyncio.wait([removing], timeout=1)
        assert not removing.done(), "it waits for the agent"
        await client.set_flow_run_state(run.id, Completed(message="done"))
        done = await removing
        assert done.lingering == []
        assert "removed route 'Review'" in done.changes
        assert [q.name for q in await queues(client, name)] == ["Todo", "default"]
        assert (await client.read_flow_run(run.id)).state_name == "Completed"


async def test_a_route_that_comes_back_goes_on(prefect_api: str) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo", "Review")
    async with connected(prefect_api, name) as client:
        first = await put(client, dispatcher)
        run = await agent_run(client, dispatcher, "Review")
        for state in (Pending(), Running()):
            await client.set_flow_run_state(run.id, state)
        assert (await put(client, app(name, "Todo"))).lingering == ["Review"]
        back = await put(client, dispatcher)
        key = f"run-agent/{name}:Review"
        assert back.ids[key] == first.ids[key]
        assert await pausing.paused_parts(client, name, "Review") == ()
        assert (await put(client, dispatcher)).changes == []


@pytest.mark.nightly
def test_a_running_agent_of_a_removed_route_finishes(prefect_api: str) -> None:
    class Held:
        """An agent that works until it may end."""

        def __init__(self) -> None:
            self.may_end = threading.Event()

        async def run(self, job: AgentJob) -> AgentResult:
            await asyncio.to_thread(self.may_end.wait, 60)
            return AgentResult(AgentOutcome.SUCCEEDED)

    name = app_name("deploy")
    agent = Held()
    dispatcher = app(name, "Todo")
    dispatcher.route("Review", agent=agent, done_queue="Done")(prompt)
    task_id = dispatcher.board.create_task("Review", "Long").id

    async def deploy_without_it(**options: Any) -> Deployed:
        async with PrefectRunStore(prefect_api) as client:
            return await put(client, app(name, "Todo"), **options)

    try:
        with running(dispatcher, prefect_api) as it:
            run = it.prefect.working(task_id)
            assert asyncio.run(deploy_without_it()).lingering == ["Review"]
            assert it.prefect.run(task_id)["state_name"] == "Running"
            agent.may_end.set()
            assert it.prefect.ended(task_id)["state_name"] == "Completed"
            assert it.place(task_id) == "Done"
            done = asyncio.run(deploy_without_it(drain=timedelta(seconds=30)))
            assert done.lingering == []
            assert it.prefect.run(task_id)["id"] == run["id"]
    finally:
        agent.may_end.set()


async def test_runs_carry_the_apps_version(prefect_api: str) -> None:
    name = app_name("deploy")
    old, new = app(name, "Todo"), app(name, "Todo", max_retries=3)
    assert app_version(old) == app_version(app(name, "Todo")) != app_version(new)
    async with connected(prefect_api, name) as client:
        await put(client, old)
        before = await agent_run(client, old, "Todo")
        await put(client, new)
        new.board.create_task("Todo", "Another id than the first task's")
        after = await agent_run(client, new, "Todo")
        assert before.deployment_version == app_version(old)
        assert after.deployment_version == app_version(new)


@pytest.mark.smoke
async def test_pools_for_prefects_own_worker(prefect_api: str) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo")
    async with connected(prefect_api, name) as client:
        await put(client, dispatcher, pool_type="process")
        assert (await client.read_work_pool(f"{name}-agents")).type == "process"
        assert (await put(client, dispatcher)).changes == []
        with pytest.raises(ConfigurationError, match="is of type 'process', not 'athanore'"):
            await put(client, dispatcher, pool_type="athanore")


async def test_polls_of_a_process_worker_do_not_pile_up(prefect_api: str) -> None:
    name = app_name("deploy")
    async with connected(prefect_api, name) as client:
        ids = (await put(client, app(name, "Todo"), pool_type="process")).ids

        async def offered(flow: str) -> list[str | None]:
            """What becomes of two runs that a worker takes, one while it has the other."""
            key = ids[f"{flow}/{name}:Todo"]
            parameters = {"task_id": "1"} if flow == "run-agent" else {}
            states: list[str | None] = []
            for _ in range(2):
                run = await client.create_flow_run_from_deployment(key, parameters=parameters)
                await client.set_flow_run_state(run.id, Pending())
                states.append((await client.read_flow_run(run.id)).state_name)
            return states

        assert await offered("poll-route") == ["Pending", "Cancelled"]
        assert await offered("run-agent") == ["Pending", "Pending"]


async def test_a_lost_poll_of_a_process_worker_does_not_keep_the_next_ones_away(
    prefect_api: str,
) -> None:
    name = app_name("deploy")
    dispatcher = app(name, "Todo")
    async with connected(prefect_api, name) as client:
        ids = (await put(client, dispatcher, pool_type="process")).ids

        async def offered() -> str | None:
            run = await client.create_flow_run_from_deployment(ids[f"poll-route/{name}:Todo"])
            await client.set_flow_run_state(run.id, Pending())
            return (await client.read_flow_run(run.id)).state_name

        assert [await offered(), await offered()] == ["Pending", "Cancelled"]
        await end_lost_polls(client, App("run.py:dispatcher", dispatcher))
        assert await offered() == "Cancelled", "it may be at work still"
        margins = replace(Margins(), polling=timedelta(0))
        await end_lost_polls(client, App("run.py:dispatcher", dispatcher, margins=margins))
        assert await offered() == "Pending"


async def test_a_run_of_a_process_pool_says_nothing_of_its_process(prefect_api: str) -> None:
    name = app_name("deploy")
    async with connected(prefect_api, name) as client:
        await client.create_work_pool(WorkPoolCreate(name=f"{name}-polls", type="process"))
        ids = (await put(client, app(name, "Todo"), pool_type="process")).ids
        wanted = {"command": "touch pwned", "env": {"ATHANORE_APP": "evil.py:x"}, "env.PATH": "/"}
        for kind, parameters in (("run-agent", {"task_id": "1"}), ("poll-route", {})):
            for variable, value in wanted.items():
                with pytest.raises(PrefectHTTPStatusError, match="not allowed"):
                    await client.create_flow_run_from_deployment(
                        ids[f"{kind}/{name}:Todo"],
                        parameters=parameters,
                        job_variables={variable: value},
                    )
        for kind in ("agents", "polls"):
            pool = await client.read_work_pool(f"{name}-{kind}")
            started = await ProcessJobConfiguration.from_template_and_values(
                pool.base_job_template, {"command": "x", "working_dir": "/"}, client=client
            )
            assert (started.command, started.working_dir) == (None, None)
            assert started.env == {"ATHANORE_APP": "run.py:dispatcher"}


async def test_scheduled_polls_are_called_after_their_route(prefect_api: str) -> None:
    name = app_name("named")
    async with connected(prefect_api, name) as client:
        await deploy(client, plan(app(name, "Todo"), "run.py:dispatcher"))
        found = await store.find_polls(client, name, "Todo", [StateType.SCHEDULED])
        assert found and {run.name for run in found} == {"poll Todo"}
