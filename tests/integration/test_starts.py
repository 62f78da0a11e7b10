"""Who may start an agent: nobody while an earlier start may have one, and for how long that is.

The runs are planted in a real Prefect, as other hosts would have left them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from datetime import timedelta

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Running, Scheduled, Suspended

from athanore import AgentOutcome, AgentResult, names
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.sweeping.sweep import look_once
from athanore.processes import identity
from athanore.runs.records.record import Holder, result_of
from athanore.runtime import starts
from athanore.runtime.leases.liveness import Liveness
from athanore.services import runs
from tests.integration.test_interrupted import DEAD, LOG, Site, site_at

FAR = Holder("AthanoreWorker 3f2c (b)", "of-another-host:42:7")


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    async with site_at(prefect_api) as site:
        yield site


@pytest.fixture(autouse=True)
def events_arrive(prefect_api: str) -> Generator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


async def opened(site: Site, holder: Holder) -> FlowRun:
    """A run whose agent works, and that has noted its start."""
    return await site.at_work(holder)


async def beat(site: Site, worker: str) -> None:
    """Send a heartbeat as a worker of another host does."""
    await site.client.send_worker_heartbeat(names.agents_pool(site.app.name), worker, 30)


def silent_for(site: Site, lost_after: timedelta) -> None:
    """Have the next look take a worker for lost whose heartbeat has not changed for so long."""
    site.app.liveness = Liveness(lost_after)


async def test_a_worker_is_looked_up_by_the_name_that_prefect_has_for_it(site: Site) -> None:
    run = await opened(site, FAR)
    silent_for(site, timedelta(seconds=0.001))
    for _ in range(3):
        await beat(site, FAR.worker)
        await site.sweep()
    assert (await site.run(run)).state_type is StateType.RUNNING


async def test_a_lost_worker_is_noticed_without_a_poll(site: Site) -> None:
    run = await opened(site, FAR)
    await beat(site, FAR.worker)
    silent_for(site, timedelta(seconds=0.001))
    for _ in range(2):
        await look_once(site.client, site.app)
    assert (await site.run(run)).state_name == "AwaitingRetry"
    assert (site.place, site.comments) == ("Todo", ["Worker lost; returned to queue, attempt 1."])


async def test_a_worker_that_prefect_does_not_know_is_asked_to_let_go_first(site: Site) -> None:
    run = await opened(site, FAR)
    silent_for(site, timedelta(seconds=0.001))
    for _ in range(3):
        await site.sweep()
    assert (await site.run(run)).state_type is StateType.CRASHED
    assert (site.place, site.comments) == ("In Progress", []), "nobody may start an agent yet"


@pytest.mark.parametrize("let_go", [True, False])
async def test_a_run_that_somebody_set_to_crashed_waits_until_its_agent_is_dead(
    site: Site, let_go: bool
) -> None:
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    run = await opened(site, FAR)
    await site.put(run, Crashed(message="by an automation"))
    if let_go:
        await site.log(await site.run(run)).leave()
    await site.sweep()
    assert site.place == ("Todo" if let_go else "In Progress")


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        (FAR, False),
        (DEAD, True),
        (Holder("a worker here", identity.process()), True),
    ],
    ids=["another host", "a dead process", "this process, which has no agent"],
)
async def test_a_start_waits_for_an_earlier_one_that_has_not_let_go(
    site: Site, holder: Holder, free: bool
) -> None:
    run = await opened(site, holder)
    for state in (Suspended(), Scheduled(name="Resuming"), Running()):
        run = await site.put(run, state)
    said = await starts.earlier(site.client, site.app, run)
    assert said == (
        None if free else f"an earlier start of this task may still be at work on {holder.worker}"
    )
    site.app.dispatcher.settings.worker_lost_after = 0.0
    assert await starts.earlier(site.client, site.app, run) is None, "its lease is over by now"


async def test_a_start_that_noted_its_outcome_has_let_go(site: Site) -> None:
    run = await opened(site, FAR)
    book = site.log(run)
    await book.open("", "token")
    await book.ended(AgentResult(AgentOutcome.FAILED, "exit code 1"))
    run = await site.put(run, Running())
    assert await starts.earlier(site.client, site.app, run) is None


async def test_a_new_run_waits_for_the_agent_of_the_tasks_last_one(site: Site) -> None:
    last = await opened(site, FAR)
    await site.put(last, Completed(message="by hand"))
    site.board.move_task(site.task_id, "Todo")
    following = await site.dispatched()
    assert following.id != last.id
    assert await starts.earlier(site.client, site.app, following) is not None
    await site.log(await site.run(last)).leave()
    assert await starts.earlier(site.client, site.app, following) is None


async def test_what_a_start_noted_after_it_lost_its_run_says_nothing_of_the_next(
    site: Site,
) -> None:
    run = await opened(site, FAR)
    late = site.log(run)
    await late.open("", "token")
    after = await site.run(run)
    await site.noted(after, FAR)
    await late.ended(AgentResult(AgentOutcome.SUCCEEDED))
    assert result_of(await site.run(after)) is None


@pytest.mark.parametrize("outcome", list(AgentOutcome))
async def test_an_agent_that_ends_when_its_run_is_deleted_has_its_outcome_seen_to(
    site: Site, outcome: AgentOutcome
) -> None:
    run = await opened(site, FAR)
    book = site.log(run)
    await book.open("", "token")
    await site.client.delete_flow_run(run.id)
    conclusion = Conclusion(site.app, site.route, book, site.task_id, LOG)
    await conclusion.ended(AgentResult(outcome, "because"))
    assert book.is_deleted
    assert site.place == ("Done" if outcome is AgentOutcome.SUCCEEDED else "Todo")


async def test_a_suspended_run_whose_agent_is_being_stopped_still_holds_its_task(
    site: Site,
) -> None:
    run = await opened(site, FAR)
    run = await site.put(run, Suspended())
    assert await runs.cancel_left_behind(site.client, site.app, site.route, {}) == 0
    held = await runs.make_way(site.client, site.app, [site.board.get_task(site.task_id)])
    assert held[site.task_id].id == run.id
    await site.log(await site.run(run)).leave()
    assert await runs.cancel_left_behind(site.client, site.app, site.route, {}) == 1
