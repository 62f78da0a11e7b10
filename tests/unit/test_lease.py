"""A worker's time is over before others may take its runs, however Prefect falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.processes.family import GRACE, steady
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.leases.lease import Lease, Terms
from athanore.runtime.leases.lease_keeper import kept
from athanore.runtime.leases.local_runs import LocalRuns, StopReason


class Clock:
    """A steady clock, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()
    while _made:  # the reaper of this process would kill the agents of later tests
        _made.pop().close()


_made: list[Lease] = []


def lease(clock: Clock, seconds: float = 600) -> Lease:
    _made.append(Lease(timedelta(seconds=seconds), clock))
    return _made[-1]


@pytest.mark.parametrize("seconds", [1, 6, 30, 60, 120, 600, 86_400])
def test_agents_are_dead_before_the_time_is_over_for_others(seconds: float) -> None:
    terms = Terms.of(timedelta(seconds=seconds))
    assert 0 < terms.stop_after < terms.kill_after < seconds
    assert terms.renew_every + terms.patience < terms.stop_after, "one lost request does no harm"
    if seconds >= 60:
        assert terms.kill_after - terms.stop_after > GRACE, "agents have their time to end"


def test_a_lease_counts_from_the_sending_of_what_was_acknowledged(clock: Clock) -> None:
    it = lease(clock)
    sent = clock.now
    clock.now += 60  # as long as the answer took
    it.renew(sent)
    clock.now = sent + it.terms.stop_after - 1
    assert (it.is_held, it.is_over) == (True, False)
    clock.now = sent + it.terms.stop_after
    assert (it.is_held, it.is_over) == (False, True)


def test_an_answer_that_comes_late_does_not_take_back_a_later_one(clock: Clock) -> None:
    it = lease(clock)
    it.renew(clock.now)
    it.renew(clock.now - 500)
    clock.now += it.terms.stop_after - 1
    assert it.is_held


def test_every_time_that_it_was_over_is_counted(clock: Clock) -> None:
    it = lease(clock)
    it.renew(clock.now)
    assert it.lapses == 0
    clock.now += it.terms.stop_after
    assert it.lapses == 1, "it is over now"
    it.renew(clock.now)
    assert it.lapses == 1, "it is held again"
    clock.now += it.terms.stop_after - 1
    it.renew(clock.now)
    assert it.lapses == 1, "it was renewed in time"


def test_what_was_never_held_is_not_over(clock: Clock) -> None:
    it = lease(clock)
    clock.now += 10_000
    assert (it.is_held, it.is_over) == (False, False)


async def test_nothing_begins_before_the_first_answer_nor_after_a_standstill(clock: Clock) -> None:
    it = lease(clock)
    for _ in range(2):
        waiting = asyncio.create_task(it.held())
        done, _ = await asyncio.wait([waiting], timeout=0.01)
        assert not done
        it.renew(clock.now)
        await asyncio.wait_for(waiting, 60)
        clock.now += 3600  # the process stood still
    it.renew(clock.now - 3600)
    waiting = asyncio.create_task(it.held())
    done, _ = await asyncio.wait([waiting], timeout=0.01)
    assert not done, "the answer to a request of before the standstill says nothing"
    waiting.cancel()


class Server:
    """Takes heartbeats, and answers them when it may; a silent one takes and says nothing."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[float] = asyncio.Queue()
        self.may_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = head.lower().partition(b"content-length:")[2].split()
            await reader.readexactly(int(length[0]) if length else 0)
            if b"/workers/heartbeat" in head:
                self.received.put_nowait(steady())
                await self.may_answer.wait()
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            elif b"/flow_runs/filter" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            else:  # Prefect's client asks other things first
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


@asynccontextmanager
async def server() -> AsyncGenerator[Server]:
    it = Server()
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await it.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(
        lambda reader, writer: tasks.append(asyncio.create_task(serve(reader, writer))),
        "127.0.0.1", 0,
    )  # fmt: skip
    port = listening.sockets[0].getsockname()[1]
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield it
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def heartbeat(client: PrefectRunStore) -> None:
    await client.send_worker_heartbeat("pool", "worker", 30)


async def test_a_slow_answer_makes_the_lease_no_longer() -> None:
    it = Lease(timedelta(seconds=60))
    async with server() as prefect, kept(it, dict[UUID, LocalRuns], heartbeat):
        received = await asyncio.wait_for(prefect.received.get(), 60)
        prefect.may_answer.set()
        await asyncio.wait_for(it.held(), 60)
    assert it.until is not None
    assert it.until - it.terms.stop_after <= received


async def test_agents_are_stopped_when_nothing_is_answered_any_more() -> None:
    """Without an error: connections stand, and requests are taken."""
    it = Lease(timedelta(seconds=2))
    run_id, local_runs = uuid4(), LocalRuns()
    async with server() as prefect, kept(it, lambda: {run_id: local_runs}, heartbeat):
        with local_runs.controlled(run_id, "1") as handle:
            prefect.may_answer.set()
            await asyncio.wait_for(it.held(), 60)
            prefect.may_answer.clear()
            agent = asyncio.create_task(asyncio.sleep(60))
            with pytest.raises(asyncio.CancelledError):
                await handle.supervise(agent)
    assert handle.reason is StopReason.CUT_OFF
