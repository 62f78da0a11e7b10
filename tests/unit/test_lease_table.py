"""Who may start an agent, and when, in each case of the table in docs/reliability.md.

The rules are played on a clock of their own: a host that has an agent, and another that looks on.
`tests/integration/test_lease_table.py` has the same with real hosts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Pending, Running

from athanore import AgentOutcome, AgentResult
from athanore.errors import TaskMovedError
from athanore.flows.ends import letting_go
from athanore.processes import identity
from athanore.runs.records.record import Holder, Start, record_of
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.leases import verdict
from athanore.runtime.leases.lease import Lease
from athanore.runtime.leases.liveness import Liveness
from athanore.runtime.leases.local_runs import RunControl, StopReason
from tests.memory_store import no_events
from tests.rules_site import DEAD, LOG, Site

__all__ = ["no_events"]

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
KEY = ("pool", "AthanoreWorker a")
STEP = 0.25
DEAD_EARLY, AFTER_T = "is dead before T is over", "T after the last heartbeat"
GOES_ON, NEVER = "works on", "never"
ENDED = "has ended; the host tells that when the link is back"


class World:
    """A host with an agent, another that looks on, and Prefect between them."""

    def __init__(self, lost_after: float) -> None:
        self.now = 5000.0
        self.lost_after = lost_after
        self.lease = Lease(timedelta(seconds=lost_after), lambda: self.now)
        self.liveness = Liveness(timedelta(seconds=lost_after), monotonic=lambda: self.now)
        self.sends = self.hears = self.prefect = self.worker_runs = self.host_runs = True
        self.refuses = False
        self.beat: datetime | None = None
        self.sent_last = 0.0
        self.agent_died: float | None = None
        self.taken_over: float | None = None
        self._renews_at = self._looks_at = self.now
        self._wall = datetime(2026, 1, 1, tzinfo=UTC)

    def play(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end and not until():
            if self.host_runs:
                self._host()
            self._other()
            self.now += STEP

    def _host(self) -> None:
        terms, until = self.lease.terms, self.lease.until
        # An agent may take all the time that there is; then the reaper kills it.
        if until is not None and self.now >= until - terms.stop_after + terms.kill_after:
            self.agent_died = self.now if self.agent_died is None else self.agent_died
        if self.worker_runs and self.now >= self._renews_at:
            sent, arrives = self.now, self.sends and self.prefect and not self.refuses
            if arrives:
                self.beat = self._wall + timedelta(seconds=self.now)
                self.sent_last = sent
            if arrives and self.hears:
                self.lease.renew(sent)
                self._renews_at = sent + terms.renew_every
            else:  # an error comes at once, silence lasts as long as a renewal may
                waits = 0 if self.refuses or not self.prefect else terms.patience
                self._renews_at = sent + waits + min(1.0, terms.renew_every)

    def _other(self) -> None:
        if self.taken_over is not None or not self.prefect or self.now < self._looks_at:
            return
        self._looks_at = self.now + min(15, self.lost_after / 8)
        self.liveness.observe(KEY[0], {KEY[1]: self.beat})
        if self.liveness.is_lost(KEY):
            self.taken_over = self.now

    def dies(self) -> None:
        self.host_runs, self.agent_died = False, self.now

    def freezes(self) -> None:
        self.host_runs = False


type Act = Callable[[World], None]
ROWS: dict[tuple[str, str, str], Act | None] = {}


def row(what: str, agent: str, other: str) -> Callable[[Act], Act]:
    def note(act: Act) -> Act:
        ROWS[what, agent, other] = act
        return act

    return note


@row("the host dies", "is dead", AFTER_T)
def _(world: World) -> None:
    world.dies()


@row("its link is cut, and packets vanish both ways", DEAD_EARLY, AFTER_T)
def _(world: World) -> None:
    world.sends = world.hears = False


@row("only what the host sends vanishes", DEAD_EARLY, AFTER_T)
def _(world: World) -> None:
    world.sends = False


@row("only what is sent to the host vanishes", DEAD_EARLY, f"{AFTER_T} that arrived")
def _(world: World) -> None:
    world.hears = False
    world.play(world.lease.terms.renew_every + STEP)
    world.sends = False  # without answers no connection lasts


@row("its packets are refused, with an error", DEAD_EARLY, AFTER_T)
def _(world: World) -> None:
    world.refuses = True


@row("the link is back before that", GOES_ON, NEVER)
def _(world: World) -> None:
    world.sends = world.hears = False
    world.play(world.lost_after / 2)
    world.sends = world.hears = True


@row("its agent ends while the link is cut for less", ENDED, NEVER)
def _(world: World) -> None:
    world.sends = world.hears = False
    world.play(world.lost_after / 4)
    world.agent_died = world.now
    world.play(world.lost_after / 4)
    world.sends = world.hears = True


@row("its worker's process is frozen", DEAD_EARLY, AFTER_T)
def _(world: World) -> None:
    world.worker_runs = False


@row("all of the host is frozen", "is dead within a second of going on", AFTER_T)
def _(world: World) -> None:
    world.freezes()
    sent_last = world.sent_last
    world.play(2 * world.lost_after)
    assert not world.lease.is_held, "it starts nothing when it goes on"
    world.host_runs = True
    went_on = world.now
    world.play(1, lambda: world.agent_died is not None)
    assert world.agent_died is not None and world.agent_died <= went_on + 1
    world.agent_died = went_on - 2 * world.lost_after  # it did nothing while it was frozen
    world.sent_last = sent_last


@row("the clock of the host, or of the other, is set", GOES_ON, NEVER)
def _(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        now = time.time()
        for hours in (3, -3):
            patch.setattr(time, "time", lambda hours=hours: now + hours * 3600)
            world.play(world.lost_after)


@row(
    "Prefect is away for longer than T", DEAD_EARLY, "once Prefect is back, and the host has let go"
)
def _(world: World) -> None:
    world.prefect = False
    world.play(2 * world.lost_after)
    assert world.taken_over is None
    assert world.agent_died is not None and world.agent_died < world.sent_last + world.lost_after
    world.prefect = True


@row("Prefect is away for less", GOES_ON, NEVER)
def _(world: World) -> None:
    world.prefect = False
    world.play(world.lost_after / 2)
    world.prefect = True


@pytest.mark.parametrize("lost_after", [20, 60, 600])
@pytest.mark.parametrize("case", list(ROWS), ids=lambda case: case[0])
def test_who_may_start_an_agent_and_when(case: tuple[str, str, str], lost_after: float) -> None:
    world, act = World(lost_after), ROWS[case]
    assert act is not None
    try:
        world.play(lost_after)
        assert (world.agent_died, world.taken_over) == (None, None)
        act(world)
        world.play(3 * lost_after, lambda: world.taken_over is not None)
    finally:
        world.lease.close()
    if case[2] == NEVER:
        assert world.taken_over is None
        assert (world.agent_died is None) is (case[1] == GOES_ON)
        return
    assert world.agent_died is not None
    if "Prefect" in case[0]:
        return  # it is asked below who starts the next one
    assert world.taken_over is not None and world.agent_died < world.taken_over
    silent = world.taken_over - world.sent_last
    assert lost_after <= silent <= lost_after + 3 * min(15, lost_after / 8)


# -- Prefect is restored from a backup -------------------------------------------------------------


class Restored(Site):
    """A host whose agent works, and a Prefect that is set back to an earlier time."""

    def save(self) -> None:
        self.saved = deepcopy((self.client.runs, self.client.history, self.client.notes_of))

    def restore(self) -> None:
        self.client.runs, self.client.history, self.client.notes_of = self.saved
        self.app.local_runs.note_return()

    async def start(self, run: FlowRun) -> Start:
        """An agent of another host begins."""
        here = Holder("far-1", "another-host:1:1")
        run = await self.put(run, Pending(message=str(here)), Running())
        self.board.move_task(self.task_id, "In Progress")
        self.run = await self.noted(run, here)
        record = record_of(self.run)
        return Start(record.start_id, record.starts, record.process)

    async def heard(self, start: Start) -> verdict.Verdict | None:
        """What the host hears of its run."""
        return verdict.judge(start, self.client.runs.get(self.run.id))

    def book(self, start: Start) -> RunLog:
        """What the host knows of its run."""
        book = RunLog(self.client, self.run, self.route.retry)
        book.start = start
        return book

    async def stopped(self, start: Start, *, was_cut_off: bool = False) -> None:
        """The host stops its agent, as it has heard it is to, and sees to the task.

        Args:
            was_cut_off: its lease was over before it heard of anything.
        """
        said = (StopReason.CUT_OFF, "") if was_cut_off else await self.heard(start)
        assert said is not None
        handle = RunControl(self.run.id, self.task_id, self.run)
        handle.start = start
        handle.stop(*said)
        parts = (self.app, self.route, self.book(start), handle, LOG)
        with pytest.raises(BaseException, match="The agent was stopped"):
            await letting_go.stopped(*parts, unsure=was_cut_off, usage={})

    async def others_look(self) -> None:
        """What other hosts do meanwhile gives nobody an agent."""
        for _ in range(3):
            await self.sweep()
        assert self.place == "In Progress"
        with pytest.raises(TaskMovedError):
            await self.app.board.claim(self.task_id, "Todo", "In Progress")


type Case = Callable[[Restored], Awaitable[None]]
BACKUPS: dict[tuple[str, str, str], list[Case]] = {}
WITHIN, RETURNED = "is stopped within seconds", "once the host has returned the task"


def backup(what: str, agent: str, other: str) -> Callable[[Case], Case]:
    def note(case: Case) -> Case:
        BACKUPS.setdefault((what, agent, other), []).append(case)
        ROWS[what, agent, other] = None
        return case

    return note


@backup("Prefect is restored from a backup that has this start", GOES_ON, NEVER)
async def _(site: Restored) -> None:
    start = await site.start(await site.dispatched())
    site.save()
    site.restore()
    await site.others_look()
    assert await site.heard(start) is None


@backup("the backup is from before this start", WITHIN, RETURNED)
async def waiting(site: Restored) -> None:
    run = await site.dispatched()
    site.save()
    start = await site.start(run)
    site.restore()
    await site.others_look()
    await site.stopped(start)


@backup("the backup is from before this start", WITHIN, RETURNED)
async def the_host_was_cut_off(site: Restored) -> None:
    run = await site.dispatched()
    site.save()
    start = await site.start(run)
    site.restore()
    await site.others_look()
    await site.stopped(start, was_cut_off=True)


@backup("the backup is from before this start", WITHIN, RETURNED)
async def the_agent_has_ended_meanwhile(site: Restored) -> None:
    run = await site.dispatched()
    site.save()
    start = await site.start(run)
    site.restore()
    await site.others_look()
    book = site.book(start)
    assert not await letting_go.is_ours(book)
    with pytest.raises(BaseException, match="does not count: its run was scheduled anew"):
        await letting_go.not_counted(site.app, site.route, book, LOG)


@backup("the backup is from before this start", WITHIN, RETURNED)
async def another_host_is_looking_at_the_task(site: Restored) -> None:
    run = await site.dispatched()
    site.save()
    start = await site.start(run)
    site.restore()
    run = await site.put(run, Pending(), Running())
    await site.noted(run, Holder("near-1", identity.process()))
    stopping = asyncio.create_task(site.stopped(start, was_cut_off=True))
    await asyncio.sleep(0.1)
    assert site.place == "In Progress", "the other may have an agent, for all that is known"
    await site.put(run, Cancelled(name=StateName.NOTHING_TO_DO))
    await stopping


@backup("the backup is from before this start", WITHIN, RETURNED)
async def taken_by_another_host_meanwhile(site: Restored) -> None:
    run = await site.dispatched()
    site.save()
    start = await site.start(run)
    site.restore()
    run = await site.put(run, Pending(), Running())
    await site.noted(run, Holder("near-1", identity.process()))  # it finds the task taken
    await site.put(run, Cancelled(name=StateName.NOTHING_TO_DO))
    await site.others_look()
    await site.stopped(start)


@backup("the backup is from before this start", WITHIN, RETURNED)
async def at_work_under_an_earlier_start(site: Restored) -> None:
    """Its worker is gone, so that others would see to the run at once."""
    run = await site.put(await site.dispatched(), Pending(message=str(DEAD)), Running())
    run = await site.noted(run)
    site.save()
    await site.log(run).ended(AgentResult(AgentOutcome.FAILED, "exit code 1"))
    start = await site.start(await site.client.read_run(run.id))
    assert start.number == 2
    site.restore()
    await site.others_look()
    await site.stopped(start)
    assert (await site.client.read_run(run.id)).state_type is StateType.RUNNING
    site.app.local_runs = type(site.app.local_runs)()  # half a minute later
    await site.sweep()
    after = await site.client.read_run(run.id)
    assert (after.state_name, site.place) == ("AwaitingRetry", "Todo")


@backup("the backup is from before the run was made", WITHIN, RETURNED)
async def _(site: Restored) -> None:
    site.save()
    start = await site.start(await site.dispatched())
    site.restore()
    await site.others_look()
    said = await site.heard(start)
    assert said is not None and said[0] is StopReason.DELETED
    await site.stopped(start)


@pytest.mark.parametrize(
    ("row", "case"),
    [
        pytest.param(row, case, id=f"{row[0]}, {number}")
        for row, cases in BACKUPS.items()
        for number, case in enumerate(cases)
    ],
)
async def test_when_prefect_is_restored_from_a_backup(
    row: tuple[str, str, str], case: Case
) -> None:
    site = Restored()
    await case(site)
    assert site.place == ("In Progress" if row[1] == GOES_ON else "Todo")


def test_the_page_has_the_same_table() -> None:
    wanted = [f"| {what} | {agent} | {other} |" for what, agent, other in ROWS]
    text = PAGE.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line in wanted] == wanted
