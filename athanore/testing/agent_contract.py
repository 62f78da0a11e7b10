"""The contract of an agent adapter, as tests. Subclass it for your own:

    class TestMyAgent(AgentAdapterContract):
        @pytest.fixture
        def case(self, tmp_path: Path) -> CaseMaker:
            def make(behaviour: Behaviour) -> Case:
                return Case(MyAgent(...), AgentJob(...))

            return make

pytest collects the tests of the subclass. They need pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import psutil
import pytest

from athanore.agent_adapters.base import AgentAdapter, AgentJob
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind

type Behaviour = Literal["succeeds", "fails", "hangs", "ignores TERM"]
"""What the agent of a case does.

succeeds: puts out the line `hello from the agent`, and ends well. fails: puts out the line
`it went wrong`, and ends badly. hangs: puts out the line `ready`, and never ends. ignores TERM: the
same, and refuses to be stopped in the friendly way, with a child process that does so too (for
adapters without a process: the same as hangs).
"""


@dataclass(frozen=True, slots=True)
class Case:
    """An adapter, and a job with which its agent behaves as asked; the job needs no timeout."""

    adapter: AgentAdapter
    job: AgentJob


type CaseMaker = Callable[[Behaviour], Case]


class Attempt:
    """A case while it runs: what was told, and which processes are alive."""

    def __init__(self, case: Case, *, timeout: timedelta | None = None) -> None:
        self.events: list[AgentEvent] = []
        self._case = case
        self._tag = uuid.uuid4().hex
        self._ready = asyncio.Event()
        env = {**case.job.env, "ATHANORE_CONTRACT": self._tag}
        self.job = replace(case.job, env=env, timeout=timeout, emit=self._emit)

    def _emit(self, event: AgentEvent) -> None:
        self.events.append(event)
        if event.kind is EventKind.OUTPUT and "ready" in str(event.data["text"]):
            self._ready.set()

    async def run(self) -> AgentResult:
        """Run the attempt."""
        return await self._case.adapter.run(self.job)

    async def start(self) -> asyncio.Task[AgentResult]:
        """Start the attempt and return when its agent has said that it is ready."""
        task = asyncio.create_task(self.run())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([task, ready], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        assert self._ready.is_set(), f"the agent did not get ready; it told {self.events}"
        return task

    def lines(self) -> list[str]:
        """The lines that the agent put out."""
        return [str(e.data["text"]) for e in self.events if e.kind is EventKind.OUTPUT]

    def processes(self) -> list[int]:
        """The pids of the agent's processes that are alive."""
        return [p.pid for p in psutil.process_iter() if self._is_ours(p)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return (
                process.environ().get("ATHANORE_CONTRACT") == self._tag
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False


class AgentAdapterContract:
    """What every agent adapter must do. Override the fixture `case`."""

    @pytest.fixture
    def case(self) -> CaseMaker:
        """Make cases for this adapter."""
        raise NotImplementedError("override the fixture `case`")

    async def test_success_is_a_result(self, case: CaseMaker) -> None:
        attempt = Attempt(case("succeeds"))
        result = await attempt.run()
        assert result.outcome is AgentOutcome.SUCCEEDED
        assert result.succeeded
        assert attempt.processes() == []

    async def test_a_failure_is_a_result_with_a_reason_and_not_an_exception(
        self, case: CaseMaker
    ) -> None:
        attempt = Attempt(case("fails"))
        result = await attempt.run()
        assert result.outcome is AgentOutcome.FAILED
        assert result.reason
        assert "\n" not in result.reason
        assert "it went wrong" in result.output_tail
        assert attempt.processes() == []

    async def test_it_tells_the_start_and_then_the_lines(self, case: CaseMaker) -> None:
        attempt = Attempt(case("succeeds"))
        await attempt.run()
        assert attempt.events[0].kind is EventKind.STARTED
        assert any("hello from the agent" in line for line in attempt.lines())
        assert all("\n" not in line for line in attempt.lines())

    async def test_nothing_is_told_after_the_end(self, case: CaseMaker) -> None:
        attempt = Attempt(case("succeeds"))
        await attempt.run()
        told = len(attempt.events)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(attempt.events) == told

    async def test_lines_are_told_while_the_agent_runs(self, case: CaseMaker) -> None:
        attempt = Attempt(case("hangs"))
        task = await attempt.start()
        assert not task.done()
        await _cancel(task)

    @pytest.mark.parametrize("behaviour", ["hangs", "ignores TERM"])
    async def test_a_timeout_stops_everything(self, case: CaseMaker, behaviour: Behaviour) -> None:
        attempt = Attempt(case(behaviour), timeout=timedelta(seconds=2))
        result = await attempt.run()
        assert result.outcome is AgentOutcome.TIMED_OUT
        assert result.reason == "timed out"
        assert attempt.processes() == []

    @pytest.mark.parametrize("behaviour", ["hangs", "ignores TERM"])
    async def test_a_cancellation_stops_everything_and_comes_out(
        self, case: CaseMaker, behaviour: Behaviour
    ) -> None:
        attempt = Attempt(case(behaviour))
        await _cancel(await attempt.start())
        assert attempt.processes() == []

    async def test_further_cancellations_do_not_cut_the_cleanup_short(
        self, case: CaseMaker
    ) -> None:
        attempt = Attempt(case("ignores TERM"))
        task = await attempt.start()
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.05)
        assert task.cancelled()
        assert attempt.processes() == []

    async def test_a_cancellation_at_any_early_moment_leaves_nothing(self, case: CaseMaker) -> None:
        for turns in range(12):
            attempt = Attempt(case("hangs"))
            task = asyncio.create_task(attempt.run())
            for _ in range(turns):
                await asyncio.sleep(0)
            await _cancel(task)
            assert attempt.processes() == []

    async def test_one_adapter_runs_many_at_once(self, case: CaseMaker) -> None:
        shared = case("succeeds")
        attempts = [Attempt(shared) for _ in range(8)]
        results = await asyncio.gather(*(attempt.run() for attempt in attempts))
        assert all(result.succeeded for result in results)
        for attempt in attempts:
            assert [line for line in attempt.lines() if "hello" in line] != []

    async def test_stopping_one_leaves_the_others_alone(self, case: CaseMaker) -> None:
        shared = case("hangs")
        stopped, other = Attempt(shared), Attempt(shared)
        first, second = await stopped.start(), await other.start()
        alive = other.processes()
        await _cancel(first)
        assert stopped.processes() == []
        assert other.processes() == alive
        assert not second.done()
        await _cancel(second)

    def test_it_works_in_a_loop_outside_the_main_thread(self, case: CaseMaker) -> None:
        made = case("succeeds")
        results: list[AgentResult] = []

        async def run() -> None:
            results.append(await Attempt(made).run())

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        thread.join(60)
        assert [result.succeeded for result in results] == [True]


async def _cancel(task: asyncio.Task[AgentResult]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=60)
    assert task.cancelled(), f"the attempt ended as {task!r}, not cancelled"
