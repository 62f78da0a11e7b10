"""Why a route is paused: by itself, which it may end itself, or by a person, whose pause stays."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import WorkQueue
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.flows.ends.outcome import Conclusion
from athanore.runs.capacity import pausing
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from athanore.services import runs
from tests.harness import app_name, prompt

LOG = logging.getLogger(__name__)
REASON = "Route 'fix' is paused: 5 tasks in a row failed alike (exit code 2)."


class Site:
    """A deployed app with one route that pauses itself at the first failure."""

    def __init__(self, client: PrefectRunStore) -> None:
        self.client = client
        self.board = MemoryAdapter(["Todo", "In Progress", "Failed"])
        dispatcher = AgentDispatcher(
            "true", name=app_name("pause"), queue_backend=self.board, api_port=0, max_retries=3,
            dead_letter_queue="Failed",
        )  # fmt: skip
        dispatcher.route("Todo", name="fix", pause_after_failures=1)(prompt)
        self.app = App("run.py:dispatcher", dispatcher)
        self.route = dispatcher.routes["fix"]

    async def queue(self) -> WorkQueue:
        return await self.client.read_work_queue_by_name(
            "fix", work_pool_name=names.agents_pool(self.app.name)
        )

    async def reasons(self) -> dict[str, str]:
        pauses = await pausing.own_pauses(self.client, self.app.name, [await self.queue()])
        return {route: pause.reason for route, pause in pauses.items()}

    async def pauses_itself(self) -> None:
        at = datetime.now(UTC) + timedelta(hours=1)
        await pausing.pause(self.client, self.app.name, "fix", reason=REASON, resume_at=at)

    async def person_writes(self, description: str) -> None:
        await self.client.update_work_queue((await self.queue()).id, description=description)

    async def resumed_by_itself(self) -> bool:
        due = datetime.now(UTC) + timedelta(hours=1)
        return await pausing.resume_by_itself(self.client, self.app.name, "fix", due)


@asynccontextmanager
async def site_at(prefect_api: str) -> AsyncGenerator[Site]:
    async with PrefectRunStore(prefect_api) as client:
        site = Site(client)
        await deploy(client, plan(site.app.dispatcher, site.app.reference))
        try:
            yield site
        finally:
            for deployment in (await deployments_of(client, site.app.name)).values():
                await client.delete_deployment(deployment.id)


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    async with site_at(prefect_api) as site:
        yield site


@pytest.fixture(autouse=True)
def events_arrive(prefect_api: str) -> Generator[None]:
    """Send events to the session's server: Prefect would start one of its own for them."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


@pytest.mark.smoke
async def test_a_route_that_paused_itself_says_why_whatever_people_write(site: Site) -> None:
    await site.pauses_itself()
    assert (await site.reasons())["fix"].startswith(REASON)
    await site.person_writes(pausing.queue_description("fix"))
    assert (await site.reasons())["fix"].startswith(REASON)
    assert await site.resumed_by_itself()
    assert not (await site.queue()).is_paused
    assert await site.reasons() == {}


async def test_a_pause_that_a_person_explains_stays_a_persons(site: Site) -> None:
    await site.pauses_itself()
    await pausing.pause(site.client, site.app.name, "fix")
    await site.person_writes("Closed until Bob is back.")
    assert await site.reasons() == {}
    assert not await site.resumed_by_itself()
    await site.pauses_itself()
    assert not await site.resumed_by_itself(), "it was a person's before"
    assert (await site.queue()).is_paused


async def test_a_pause_after_one_that_was_ended_in_prefects_ui_is_a_persons(site: Site) -> None:
    await site.pauses_itself()
    queue = (await site.queue()).id

    async def looked() -> None:
        now, margin = datetime.now(UTC), timedelta(minutes=-1)
        await pausing.see_to_own(site.client, site.app.name, "fix", now, margin)

    await looked()
    assert "fix" in await site.reasons(), "it is paused still"
    await site.client.update_work_queue(queue, is_paused=False)
    await looked()
    assert await pausing.paused_parts(site.client, site.app.name, "fix") == ()
    await site.client.update_work_queue(queue, is_paused=True)
    assert not await site.resumed_by_itself()


async def test_a_task_is_kept_though_its_route_cannot_be_paused(site: Site) -> None:
    task = site.board.create_task("Todo", "Fix it")
    run = (await runs.dispatch(site.client, site.app, task)).run
    for state in (Pending(), Running()):
        await site.client.set_flow_run_state(run.id, state)
    run = await site.client.read_flow_run(run.id)
    site.board.move_task(task.id, "In Progress")
    polls = f"{names.POLL_FLOW}/{names.deployment_name(site.app.name, 'fix')}"
    await site.client.delete_deployment((await site.client.read_deployment_by_name(polls)).id)
    conclusion = Conclusion(
        site.app, site.route, RunLog(site.client, run, site.route.retry), task.id, LOG
    )
    result = AgentResult(AgentOutcome.FAILED, "exit code 2", output_tail="no key")
    state = await conclusion.ended(result)
    assert state.name == "AwaitingRetry"
    due = state.state_details.scheduled_time
    assert due is not None and due > datetime.now(UTC) + timedelta(minutes=10)
    after = site.board.get_task(task.id)
    assert after.queue_name == "Todo"
    (comment,) = after.comments
    assert "cannot be: Route 'fix' is not deployed" in comment.text
    assert comment.text.endswith("no key")
    kept = await site.client.read_flow_run(run.id)
    assert kept.empirical_policy.retries == 4, "the attempt was given back"
    assert record_of(kept).attempt == 1
