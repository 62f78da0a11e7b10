"""What a poll makes of runs whose worker was lost at the worst moment, and of those it was not.

The states and labels are planted as the lost worker would have left them, in a real Prefect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from subprocess import Popen
from typing import Any, cast

import pytest
from prefect import Task as PrefectTask
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Failed, Pending, Running

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.errors import BoardUnavailableError, InvalidTaskError
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.sweeping.recovery import Recovery
from athanore.flows.sweeping.sweep import look_once
from athanore.processes import identity
from athanore.runs import clearing, store
from athanore.runs.dispatching import Dispatch
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.own_moves import has_moved_itself, note_move
from athanore.runs.records.record import Holder, Start, record_of
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.liveness import Liveness
from athanore.runtime.leases.local_runs import StopReason
from athanore.runtime.margins import Margins
from athanore.runtime.routes.route_registry import deployments_of
from athanore.services import dead_letters
from tests.harness import app_name, prompt

pytestmark = pytest.mark.postgres

DEAD = Holder("lost-1", f"{identity.host()}:999999999:1.00")
LOG = logging.getLogger(__name__)


@pytest.fixture
def alive() -> Generator[Holder]:
    """Another process of this host that lives."""
    process = Popen(["sleep", "600"])
    try:
        yield Holder("other-1", identity.of(process.pid))
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def events_arrive(prefect_api: str) -> Generator[None]:
    """Send events to the session's server: Prefect would start one of its own for them."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


class Site:
    """A deployed app with one task, whose run is in whatever state a test wants."""

    def __init__(self, client: PrefectRunStore, board: MemoryAdapter | None = None) -> None:
        self.client = client
        self.board = board or MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
        dispatcher = AgentDispatcher(
            "true", name=app_name("lost"), queue_backend=self.board, api_port=0, max_retries=2,
            dead_letter_queue="Failed",
        )  # fmt: skip
        dispatcher.route("Todo", done_queue="Done")(prompt)
        self.app = App(
            "run.py:dispatcher", dispatcher, margins=Margins(noting=timedelta(0))
        )  # runs are looked at closely although they have just begun
        self.route = dispatcher.routes["Todo"]
        self.task_id = self.board.create_task("Todo", "Fix it").id

    async def dispatched(self) -> FlowRun:
        task = self.board.get_task(self.task_id)
        return await self.app.dispatching.dispatch(self.client, self.route, task)

    async def started(self, holder: Holder) -> FlowRun:
        """A run that a worker has taken and started, and whose flow has noted itself."""
        run = await self.dispatched()
        return await self.noted(await self.started_again(run, holder), holder)

    async def noted(self, run: FlowRun, holder: Holder) -> FlowRun:
        """The same run, once its flow has said who has it."""
        assert run.state is not None
        known = record_of(run)
        start = Start(str(run.state.id), known.starts + 1, holder.process)
        begun = known.begun(start, run.run_count, holder.worker, "", "a proof")
        await self.client.update_flow_run_labels(run.id, begun.changes(run.labels))
        return await self.client.read_flow_run(run.id)

    async def started_again(self, run: FlowRun, holder: Holder) -> FlowRun:
        """The same run, taken and started by a worker; its flow has not got any further."""
        await self.put(run, Pending(message=str(holder)))
        return await self.put(run, Running())

    async def at_work(self, holder: Holder) -> FlowRun:
        """A run whose agent works."""
        run = await self.started(holder)
        self.board.move_task(self.task_id, "In Progress")
        return run

    async def put(self, run: FlowRun, state: State[None]) -> FlowRun:
        await self.client.set_flow_run_state(run.id, state, force=True)
        return await self.client.read_flow_run(run.id)

    async def write(self, run: FlowRun, **values: str | int) -> None:
        """Change what the run's record says."""
        changed = replace(record_of(run), **cast(Any, values))
        await self.client.update_flow_run_labels(run.id, changed.changes(run.labels))

    async def sweep(self) -> None:
        """Look after the app's runs and tasks."""
        await look_once(self.client, self.app)

    async def run(self, run: FlowRun) -> FlowRun:
        return await self.client.read_flow_run(run.id)

    def log(self, run: FlowRun) -> RunLog:
        return RunLog(self.client, run, self.route.retry)

    def conclusion(self, run: FlowRun) -> Conclusion:
        return Conclusion(self.app, self.route, self.log(run), self.task_id, LOG)

    @property
    def place(self) -> str:
        return self.board.get_task(self.task_id).queue_name

    @property
    def comments(self) -> list[str]:
        return [c.text for c in self.board.get_task(self.task_id).comments]


@asynccontextmanager
async def site_at(prefect_api: str, board: MemoryAdapter | None = None) -> AsyncGenerator[Site]:
    async with PrefectRunStore(prefect_api) as client:
        site = Site(client, board)
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


@pytest.mark.smoke
async def test_a_start_whose_worker_died_before_it_began_is_made_again(site: Site) -> None:
    run = await site.dispatched()
    await site.put(run, Pending(message=str(DEAD)))
    await site.sweep()
    after = await site.run(run)
    assert (after.state_name, record_of(after).crashes) == ("AwaitingRetry", 0)
    assert (site.place, site.comments) == ("Todo", [])


async def test_a_start_that_another_worker_has_just_taken_is_its_own(
    site: Site, alive: Holder
) -> None:
    run = await site.dispatched()
    await site.put(run, Pending(message=str(alive)))
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.PENDING


async def test_a_worker_that_died_before_its_flow_noted_itself_is_known_all_the_same(
    site: Site,
) -> None:
    run = await site.started_again(await site.dispatched(), DEAD)
    await site.sweep()
    after = await site.run(run)
    assert (after.state_name, record_of(after).crashes) == ("AwaitingRetry", 1)


async def test_the_labels_of_an_earlier_start_do_not_condemn_the_present_one(
    site: Site, alive: Holder
) -> None:
    run = await site.at_work(DEAD)
    await site.sweep()
    after = await site.run(run)
    assert (after.state_name, site.place) == ("AwaitingRetry", "Todo")
    await site.started_again(run, alive)
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.RUNNING
    assert site.comments == ["Worker lost; returned to queue, attempt 1."]


async def test_a_poll_that_knows_only_an_old_visit_makes_the_next(site: Site) -> None:
    visits = [await site.dispatched()]
    await site.put(visits[0], Cancelled())
    visits.append(await site.dispatched())
    await site.put(visits[1], Cancelled())
    due = Dispatch(site.board.get_task(site.task_id), store.FIRST_VISIT, datetime.now(UTC))
    created, refused = await site.app.dispatching.dispatch_all(site.client, site.route, [due], None)
    assert refused == [] and created[site.task_id] not in {run.id for run in visits}
    again, _ = await site.app.dispatching.dispatch_all(site.client, site.route, [due], None)
    assert again == created


@pytest.mark.parametrize(("worker", "state"), [("far-1", "AwaitingRetry"), ("", "Running")])
async def test_only_a_worker_that_sends_heartbeats_can_be_missed(
    site: Site, worker: str, state: str
) -> None:
    site.app.liveness = Liveness(timedelta(0))
    if worker:
        await site.client.send_worker_heartbeat(names.agents_pool(site.app.name), worker, 30)
    run = await site.at_work(Holder(worker, "of-another-host:42:7"))
    await site.sweep()
    assert (await site.run(run)).state_name == state


@pytest.mark.smoke
async def test_a_crash_is_counted_once_however_often_it_is_recovered(site: Site) -> None:
    run = await site.at_work(DEAD)
    for _ in range(2):
        await site.log(await site.run(run)).give_back(crash=True)
    after = await site.run(run)
    assert (record_of(after).crashes, record_of(after).attempt) == (1, 1)
    assert after.empirical_policy.retries == 3, "one start was given back"


async def test_a_crash_that_another_poll_sees_to_is_left_to_it(site: Site) -> None:
    run = await site.at_work(DEAD)
    await site.put(run, Crashed())
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.CRASHED
    assert (site.place, site.comments) == ("In Progress", [])


@pytest.mark.nightly
async def test_a_crash_that_nobody_saw_to_is_recovered(site: Site) -> None:
    run = await site.at_work(DEAD)
    await site.put(run, Crashed())
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    await site.sweep()
    assert (await site.run(run)).state_name == "AwaitingRetry"
    assert site.comments == ["Worker lost; returned to queue, attempt 1."]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.smoke
async def test_a_retry_goes_on_where_the_lost_worker_left_it(site: Site, moved: bool) -> None:
    run = await site.at_work(DEAD)
    await site.write(run, outcome="failed", outcome_start=1, reason="exit code 1")
    said = "Retry 1/2: exit code 1. Moving back to source queue for retry."
    site.board.add_comment(site.task_id, f"{said}\nits last words")
    if moved:
        site.board.move_task(site.task_id, "Todo")
    await site.sweep()
    after = await site.run(run)
    assert (after.state_name, site.place) == ("AwaitingRetry", "Todo")
    assert site.comments == [f"{said}\nits last words"]
    assert record_of(after).crashes == 0, "the agent had ended"


@pytest.mark.nightly
async def test_a_hopeless_failure_stays_one_when_its_worker_is_lost(site: Site) -> None:
    run = await site.at_work(DEAD)
    result = AgentResult(AgentOutcome.FAILED, "no such command", retryable=False)
    await site.log(run).ended(result)
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.FAILED
    assert (site.place, len(site.comments)) == ("Failed", 1)


async def test_a_dead_letter_is_left_to_its_hook_while_that_lives(
    site: Site, alive: Holder
) -> None:
    run = await site.at_work(alive)
    await site.put(run, Failed(message="exit code 1"))
    await site.sweep()
    assert (site.place, site.comments) == ("In Progress", [])
    await site.write(run, process=DEAD.process)
    await site.sweep()
    assert (site.place, len(site.comments)) == ("Failed", 1)


async def test_a_run_that_has_not_claimed_its_task_yet_is_not_taken_for_moved_away(
    site: Site, alive: Holder
) -> None:
    run = await site.started(alive)
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.RUNNING
    attempt = PrefectTask(name="attempt 1", fn=prompt)
    await site.client.create_task_run(
        task=attempt, flow_run_id=run.id, dynamic_key="1", state=Running()
    )
    await site.sweep()
    state = (await site.run(run)).state
    assert state is not None
    assert (state.type, state.message) == (StateType.CANCELLING, "the task was moved to 'Todo'")


async def test_a_task_that_its_run_hands_back_is_not_taken_for_moved_away(
    site: Site, alive: Holder
) -> None:
    run = await site.started(alive)
    attempt = PrefectTask(name="attempt 1", fn=prompt)
    await site.client.create_task_run(
        task=attempt, flow_run_id=run.id, dynamic_key="1", state=Running()
    )
    await site.log(run).give_back()
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.RUNNING


async def test_a_poll_of_a_lost_worker_does_not_run_for_ever(site: Site, alive: Holder) -> None:
    deployment = f"{names.POLL_FLOW}/{names.deployment_name(site.app.name, 'Todo')}"
    poll_id = (await site.client.read_deployment_by_name(deployment)).id
    lost = await site.client.create_flow_run_from_deployment(poll_id)
    other = await site.client.create_flow_run_from_deployment(poll_id)
    await site.started_again(lost, DEAD)
    await site.started_again(other, alive)
    await site.sweep()
    assert (await site.run(lost)).state_type is StateType.CRASHED
    assert (await site.run(other)).state_type is StateType.RUNNING


async def test_only_polls_that_nobody_has_taken_are_deleted(site: Site, alive: Holder) -> None:
    deployment = f"{names.POLL_FLOW}/{names.deployment_name(site.app.name, 'Todo')}"
    poll_id = (await site.client.read_deployment_by_name(deployment)).id
    taken = await site.client.create_flow_run_from_deployment(poll_id)
    waiting = await site.client.create_flow_run_from_deployment(poll_id)
    await site.started_again(taken, alive)
    await clearing.delete_waiting(site.client, [taken.id, waiting.id])
    found = await store.find_polls(site.client, site.app.name, "Todo", list(StateType))
    assert taken.id in {r.id for r in found}
    assert waiting.id not in {r.id for r in found}


async def test_a_retry_without_a_queue_to_go_back_to_ends_with_a_reason(
    site: Site, alive: Holder
) -> None:
    run = await site.at_work(alive)
    site.board.delete_queue("Todo")
    state = await site.conclusion(run).ended(AgentResult(AgentOutcome.FAILED, "exit code 1"))
    assert (state.type, state.message) == (
        StateType.FAILED, "exit code 1; there is no queue to retry it from",
    )  # fmt: skip
    assert not (await site.run(run)).empirical_policy.retries
    gone = "The board has no queue 'Todo' any more; leaving the task where it is."
    assert site.comments[-1] == gone


async def test_a_success_without_its_done_queue_says_so(site: Site, alive: Holder) -> None:
    run = await site.at_work(alive)
    site.board.delete_queue("Done")
    state = await site.conclusion(run).ended(AgentResult(AgentOutcome.SUCCEEDED))
    assert state.type is StateType.COMPLETED
    gone = "The board has no queue 'Done' any more; leaving the task where it is."
    assert (site.place, site.comments) == ("In Progress", [gone])


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (StopReason.SHUTDOWN, "Worker is shutting down"),
        (StopReason.CUT_OFF, "Worker was cut off from Prefect"),
    ],
)
@pytest.mark.nightly
async def test_a_task_that_is_handed_back_says_why(
    site: Site, alive: Holder, reason: StopReason, words: str
) -> None:
    run = await site.at_work(alive)
    state = await site.conclusion(run).stopped(reason, "")
    assert (state.name, site.place) == ("AwaitingRetry", "Todo")
    assert site.comments == [f"{words}; returned to queue, attempt 1."]
    assert record_of(await site.run(run)).is_given_back


@pytest.mark.parametrize(
    ("reason", "name", "said"),
    [
        (StopReason.SHUTDOWN, "Stopped", []),
        (
            StopReason.CANCELLED,
            "Cancelled",
            ["Cancelled (by hand): agent stopped; the task was in 'Done' by then."],
        ),
    ],
)
@pytest.mark.nightly
async def test_a_stop_after_the_agent_moved_its_task_ends_the_run(
    site: Site, alive: Holder, reason: StopReason, name: str, said: list[str]
) -> None:
    run = await site.at_work(alive)
    site.board.move_task(site.task_id, "Done")
    state = await site.conclusion(run).stopped(reason, "by hand")
    assert (state.type, state.name, site.place) == (StateType.CANCELLED, name, "Done")
    assert not record_of(await site.run(run)).is_given_back, "the attempt has done its work"
    assert site.comments == said


def test_a_worker_writes_its_name_so_that_it_can_be_read_back() -> None:
    mine = Holder(names.worker_name(), identity.process())
    assert Holder.parse(str(mine)) == mine
    assert Holder.parse("Something else") is None


async def test_a_dead_letter_whose_queue_is_gone_stays_with_a_comment(site: Site) -> None:
    run = await site.at_work(DEAD)
    await site.put(run, Failed(message="exit code 1"))
    site.board.delete_queue("Failed")
    for _ in range(2):
        await site.sweep()
    assert (site.place, site.comments) == (
        "In Progress",
        [
            "Max retries (2) exhausted. Moving to dead-letter queue.\nexit code 1",
            "The board has no queue 'Failed' any more; leaving the task where it is.",
        ],
    )
    assert record_of(await site.run(run)).is_closed
    (letter,) = await dead_letters.read_all(site.client, site.app)
    assert (letter.task_id, letter.reason) == (site.task_id, "exit code 1")


async def test_a_cancelled_task_whose_queue_is_gone_is_put_aside_all_the_same(
    site: Site,
) -> None:
    site.route = replace(site.route, on_cancel="Cancelled")
    run = await site.put(await site.dispatched(), Cancelled())
    recovery = Recovery(site.client, site.app, site.route, LOG)
    assert await recovery.resume(run, site.board.get_task(site.task_id))
    assert site.place == "In Progress"
    assert "No queue is called 'Cancelled'" in site.comments[-1]
    assert record_of(await site.run(run)).is_closed


class Refuses(MemoryAdapter):
    """A board that refuses to move one task."""

    refused = ""

    def move_task(self, task_id: str, target_queue: str) -> None:
        if task_id == self.refused:
            raise InvalidTaskError(f"Task {task_id!r} is locked.")
        super().move_task(task_id, target_queue)


async def test_a_task_that_the_board_refuses_does_not_stop_its_route(prefect_api: str) -> None:
    board = Refuses(["Todo", "In Progress", "Done", "Failed"])
    async with site_at(prefect_api, board) as site:
        runs_of: list[FlowRun] = []
        for name in ("Locked", "Next", "Last"):
            site.task_id = board.create_task("Todo", name).id
            runs_of.append(await site.at_work(DEAD))
            board.refused = board.refused or site.task_id
        await site.put(runs_of[2], Failed(message="exit code 1"))
        for _ in range(3):
            await site.sweep()
        refused = board.get_task(board.refused)
        assert refused.queue_name == "In Progress"
        told = "What is due to this task cannot be done: Task '2' is locked."
        assert [c.text for c in refused.comments].count(told) == 1
        assert len(refused.comments) <= 3
        assert (await site.run(runs_of[1])).state_name == "AwaitingRetry"
        assert site.place == "Failed"


async def test_what_is_due_while_the_board_is_away_is_done_when_it_is_back(
    prefect_api: str,
) -> None:
    class Away(MemoryAdapter):
        is_away = True

        def add_comment(self, task_id: str, text: str) -> None:
            if self.is_away:
                raise BoardUnavailableError("the board is away")
            super().add_comment(task_id, text)

    board = Away(["Todo", "In Progress", "Done", "Failed"])
    async with site_at(prefect_api, board) as site:
        site.app.margins = replace(site.app.margins, recovering=timedelta(0))
        await site.at_work(DEAD)
        await site.sweep()
        assert site.place == "In Progress"
        board.is_away = False
        await site.sweep()
        assert site.place == "Todo"


async def test_an_agents_own_move_counts_for_its_attempt_only(site: Site, alive: Holder) -> None:
    run = await site.at_work(alive)
    await note_move(site.client, run.id, 1, "Done")
    assert await has_moved_itself(site.client, run)
    attempt = PrefectTask(name="attempt 1", fn=prompt)
    await site.client.create_task_run(
        task=attempt, flow_run_id=run.id, dynamic_key="1", state=Running()
    )
    site.board.move_task(site.task_id, "Done")
    await site.sweep()
    assert (await site.run(run)).state_type is StateType.RUNNING
    await site.noted(await site.started_again(run, alive), alive)
    await site.client.create_task_run(
        task=attempt, flow_run_id=run.id, dynamic_key="2", state=Running()
    )
    await site.sweep()
    assert (await site.run(run)).state_name == StateName.MOVED_AWAY


@pytest.mark.postgres
@pytest.mark.smoke
async def test_what_the_api_and_the_worker_note_of_a_run_is_all_kept(site: Site) -> None:
    """PostgreSQL lets two writers of labels read the same ones; one of them loses what it wrote."""
    run = await site.at_work(DEAD)
    for number in range(10):
        await asyncio.gather(
            site.client.update_flow_run_labels(run.id, {f"athanore.{number}": number}),
            note_move(site.client, run.id, number, "Done"),
        )
    after = await site.run(run)
    for number in range(10):
        assert after.labels[f"athanore.{number}"] == number
        assert await has_moved_itself(
            site.client, after.model_copy(update={"labels": {"athanore.start": number}})
        )
