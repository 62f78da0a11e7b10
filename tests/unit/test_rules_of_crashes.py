"""A worker that is lost between any two steps of an attempt's end: what is due is done once.

The end of an attempt is a row of writes to Prefect and to the board. Each case makes it until one
of them has been done, has the worker die there, and lets another one look after the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy, StateType

from athanore import AgentOutcome, AgentResult
from athanore.flows.ends.outcome import Conclusion
from athanore.models import Fault, FaultKind
from athanore.runs.capacity import limits, pausing
from athanore.runs.port import NewRun, Switches
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import StopReason
from tests.memory_store import MemoryRunStore, no_events
from tests.rules_site import LOG, RESULTS, Board, Site

__all__ = ["no_events"]


class WorkerLostError(BaseException):
    """The worker's process is gone; nothing in it sees that."""


class Countdown:
    """Counts the writes, and has the worker die once so many of them are done."""

    def __init__(self) -> None:
        self.left: int | None = None

    def done(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            raise WorkerLostError
        self.left -= 1


class DyingStore(MemoryRunStore):
    """A store to which a worker writes that may die."""

    countdown: Countdown

    async def add_labels(self, run_id: UUID, labels: Mapping[str, Any]) -> None:
        self.countdown.done()
        await super().add_labels(run_id, labels)

    async def set_policy(self, run_id: UUID, policy: FlowRunPolicy) -> None:
        self.countdown.done()
        await super().set_policy(run_id, policy)

    async def create(self, deployment: UUID, new: NewRun) -> FlowRun:
        self.countdown.done()
        return await super().create(deployment, new)

    async def keep(self, *args: Any, **kwargs: Any) -> None:
        self.countdown.done()
        await super().keep(*args, **kwargs)

    async def pause_polls(self, switches: Switches) -> None:
        self.countdown.done()
        await super().pause_polls(switches)

    async def switch_agents(self, *args: Any, **kwargs: Any) -> None:
        self.countdown.done()
        await super().switch_agents(*args, **kwargs)


class DyingBoard(Board):
    """A board to which a worker writes that may die."""

    countdown: Countdown | None = None

    def _count(self) -> None:
        if self.countdown is not None:
            self.countdown.done()

    def move_task(self, task_id: str, target_queue: str) -> None:
        self._count()
        super().move_task(task_id, target_queue)

    def add_comment(self, task_id: str, text: str) -> None:
        self._count()
        super().add_comment(task_id, text)


class Dying(Site):
    """A site whose worker dies at a step of an end, and is followed by another one."""

    def __init__(self, **options: Any) -> None:
        self.countdown = Countdown()
        super().__init__(resume_after=600, **options)

    def prefect(self) -> DyingStore:
        made = DyingStore()
        made.countdown = self.countdown
        return made

    def queues(self) -> Board:
        made = DyingBoard(["Todo", "Next", "In Progress", "Done", "Failed"], user="athanore")
        made.countdown = self.countdown
        return made

    async def dies_after(self, writes: int, work: Callable[[], Awaitable[Any]]) -> bool:
        """Work until so many writes are done; False if it needs no more than these."""
        self.countdown.left = writes
        try:
            await work()
        except WorkerLostError:
            return True
        finally:
            self.countdown.left = None
        return False

    async def followed(self) -> None:
        """Another process looks after the app's runs."""
        self.app = App("run.py:dispatcher", self.dispatcher)
        for _ in range(3):
            await self.sweep()


def until() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


UNCOUNTED: Mapping[str, Callable[[], AgentResult]] = {
    "provider": lambda: _failed(Fault(FaultKind.PROVIDER, until(), "acme", "5-hour")),
    "provider, no reset told": lambda: _failed(Fault(FaultKind.PROVIDER, None, "acme", "5-hour")),
    "set-up": lambda: _failed(Fault(FaultKind.ENVIRONMENT)),
    "budget of the day": lambda: _failed(Fault(FaultKind.BUDGET, until()), retryable=False),
}


def _failed(fault: Fault, *, retryable: bool = True) -> AgentResult:
    return AgentResult(AgentOutcome.FAILED, "no work today", fault=fault, retryable=retryable)


async def resumptions(site: Site) -> list[FlowRun]:
    """The runs that are to resume the route."""
    return [r for r in site.client.runs.values() if r.name == "resume Todo"]


LONGEST = 11
"""More writes than any end has."""


@pytest.mark.parametrize("writes", range(LONGEST + 1))
@pytest.mark.parametrize("kind", UNCOUNTED)
async def test_an_end_that_does_not_count_is_seen_to_once(kind: str, writes: int) -> None:
    site = Dying()
    run, result = await site.at_work(), UNCOUNTED[kind]()

    async def end() -> None:
        conclusion = Conclusion(site.app, site.route, site.log(run), site.task_id, LOG)
        await site.put(run, await conclusion.ended(result))

    died = await site.dies_after(writes, end)
    assert died or writes > 5, "an end has more writes than that"
    assert not died or writes < LONGEST, "no case was left out"
    await site.followed()
    after = await site.client.read_run(run.id)
    record = record_of(after)
    assert (after.state_type, site.place) == (StateType.SCHEDULED, "Todo")
    assert (record.attempt, record.is_given_back, record.given_back) == (1, True, 1)
    (comment,) = site.comments
    if died and writes == 0:  # nobody knows what it came to
        assert comment.startswith("Worker lost") and record.crashes == 1
        return
    assert comment.endswith("Moving back to source queue.")
    assert record.crashes == 0, "its agent had ended"
    assert await pausing.paused_parts(site.client, site.app.name, "Todo") == ("polls", "agents")
    assert await resumptions(site), "nobody else would resume it"
    if result.has_fault(FaultKind.PROVIDER):
        limit = await limits.read(site.client, "acme")
        assert limit is not None and (limit.kind, limit.again) == ("5-hour", 0)


@pytest.mark.parametrize("reason", [StopReason.SHUTDOWN, StopReason.CUT_OFF])
@pytest.mark.parametrize("writes", range(LONGEST + 1))
async def test_a_task_that_is_handed_back_is_so_once(reason: StopReason, writes: int) -> None:
    site = Dying()
    run = await site.at_work()

    async def end() -> None:
        conclusion = Conclusion(site.app, site.route, site.log(run), site.task_id, LOG)
        await site.put(run, await conclusion.stopped(reason, ""))

    died = await site.dies_after(writes, end)
    assert not died or writes < LONGEST
    await site.followed()
    after = await site.client.read_run(run.id)
    assert (after.state_type, site.place) == (StateType.SCHEDULED, "Todo")
    assert len(site.comments) == 1
    noted = not died or writes > 0
    assert record_of(after).crashes == int(not noted), "the agent had been stopped"


@pytest.mark.parametrize("writes", range(LONGEST + 1))
@pytest.mark.parametrize("noted", [k for k, v in RESULTS.items() if v is not None])
async def test_an_end_that_counts_is_seen_to_once(noted: str, writes: int) -> None:
    site = Dying()
    run, result = await site.at_work(), RESULTS[noted]
    assert result is not None

    async def end() -> None:
        conclusion = Conclusion(site.app, site.route, site.log(run), site.task_id, LOG)
        await site.put(run, await conclusion.ended(result))

    died = await site.dies_after(writes, end)
    await site.followed()
    after = await site.client.read_run(run.id)
    unknown = died and writes == 0
    ends_in = {"succeeded": "Done", "hopeless": "Failed"}.get(noted, "Todo")
    assert site.place == ("Todo" if unknown else ends_in)
    assert record_of(after).crashes == int(unknown)
    assert len(site.comments) == (1 if unknown or noted != "succeeded" else 0)
