"""Nothing of an agent outlives its worker, though that is killed, and nobody else is touched."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from athanore.processes import family as processes
from athanore.processes.family import Family
from athanore.processes.supervisor import Reaper, stop, stop_orphans, supervise

AGENTS = Path(__file__).parent.parent / "agents"
NASTY = [sys.executable, "-I", "-S", str(AGENTS / "nasty.py")]


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail after a minute."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


class Tagged:
    """Processes that are known by a tag in their environment."""

    def __init__(self) -> None:
        self.tag = uuid.uuid4().hex
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, *command: str, env: dict[str, str] | None = None, new_session: bool = True
    ) -> subprocess.Popen[str]:
        """Start a process, in a session of its own unless told otherwise."""
        process = subprocess.Popen(
            command,
            env={**os.environ, "TAG": self.tag, "PYTHONPATH": str(AGENTS.parent.parent)}
            | (env or {}),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=new_session,
        )
        self._started.append(process)
        return process

    def worker(self, mode: str) -> subprocess.Popen[str]:
        """Start tests/agents/worker.py."""
        return self.start(sys.executable, str(AGENTS / "worker.py"), mode)

    def alive(self) -> list[psutil.Process]:
        """All that carry the tag: workers and agents; reapers have nothing of our environment."""
        return [p for p in psutil.process_iter() if _is_alive(p) and self._has_tag(p)]

    def _has_tag(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("TAG") == self.tag
        except psutil.Error:
            return False

    def clean_up(self) -> None:
        """Kill what a failed test left."""
        for process in self.alive():
            process.kill()
        for process in self._started:
            process.communicate()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def tagged() -> Generator[Tagged]:
    tagged = Tagged()
    yield tagged
    tagged.clean_up()


@pytest.fixture
def reaper() -> Generator[Reaper]:
    reaper = Reaper()
    yield reaper
    reaper.close()


async def read(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Read so many lines from a process."""
    out = process.stdout
    assert out
    async with asyncio.timeout(60):
        return [(await asyncio.to_thread(out.readline)).strip() for _ in range(lines)]


class TestKilledWorker:
    async def test_all_its_agents_are_stopped_and_nobody_else(self, tagged: Tagged) -> None:
        stranger = tagged.start(*NASTY, "hangs", "prompt")
        worker = tagged.worker("runs")
        told = await read(worker, 6)
        assert told.count("ready") == 4, told
        agents = [p for p in tagged.alive() if p.pid not in (worker.pid, stranger.pid)]
        escaped = [child for agent in agents for child in agent.children()]
        worker.kill()
        await until(lambda: [p.pid for p in tagged.alive()] == [stranger.pid])
        assert not any(map(_is_alive, escaped))
        assert stranger.poll() is None

    async def test_one_that_died_before_it_knew_the_pid(self, tagged: Tagged) -> None:
        worker = tagged.worker("dies_in_the_gap")
        await asyncio.to_thread(worker.wait)
        await until(lambda: tagged.alive() == [])

    @pytest.mark.parametrize("seed", range(4))
    async def test_at_any_moment(self, tagged: Tagged, seed: int) -> None:
        worker = tagged.worker("spawns")
        await read(worker, 1 + random.Random(seed).randrange(12))
        worker.kill()
        await until(lambda: tagged.alive() == [])

    async def test_though_a_fork_holds_the_pipe_open(self, tagged: Tagged) -> None:
        worker = tagged.worker("forks")
        assert await read(worker, 1) == ["ready"]
        (agent,) = [p for p in tagged.alive() if "nasty.py" in " ".join(p.cmdline())]
        await until(lambda: len(_forks(tagged, worker.pid)) == 1)
        (fork,) = _forks(tagged, worker.pid)
        worker.kill()
        await until(lambda: [p.pid for p in tagged.alive()] == [fork])
        assert not _is_alive(agent)

    async def test_with_its_reaper_is_noticed_by_a_later_worker(self, tagged: Tagged) -> None:
        worker = tagged.worker("runs")
        await read(worker, 6)
        agents = [p for p in tagged.alive() if "nasty.py" in " ".join(p.cmdline())]
        marks = {p.environ()[processes.MARK] for p in agents}
        assert len(marks) == 4
        assert not any(family.mark in marks for family in processes.orphans())
        children = psutil.Process(worker.pid).children()
        (reaper,) = [p for p in children if "athanore.processes.reaper" in " ".join(p.cmdline())]
        reaper.suspend()
        worker.kill()
        worker.wait()
        reaper.kill()
        assert marks <= {family.mark for family in processes.orphans()}
        assert await stop_orphans() >= 4
        assert tagged.alive() == []


def _forks(tagged: Tagged, worker: int) -> list[int]:
    """The pids of processes that the worker forked and that run its own program."""
    alive = tagged.alive()
    return [p.pid for p in alive if p.pid != worker and "worker.py" in " ".join(p.cmdline())]


class TestReaper:
    async def agent(self, tagged: Tagged, family: Family) -> subprocess.Popen[str]:
        """Start an agent of the family."""
        agent = tagged.start(*NASTY, "hangs", "prompt", env=family.env)
        await read(agent, 1)
        return agent

    async def test_it_stops_what_is_watched_when_the_pipe_ends(
        self, tagged: Tagged, reaper: Reaper
    ) -> None:
        family = Family.new()
        reaper.watch(family)
        agent = await self.agent(tagged, family)
        reaper.watch(family.led_by(agent.pid))
        reaper.close()
        assert await asyncio.to_thread(agent.wait, 60) == -signal.SIGTERM

    async def test_it_leaves_alone_what_was_released(self, tagged: Tagged, reaper: Reaper) -> None:
        family, other = Family.new(), Family.new()
        agent = await self.agent(tagged, family)
        watched = await self.agent(tagged, other)
        reaper.watch(family.led_by(agent.pid))
        reaper.watch(other.led_by(watched.pid))
        reaper.release(family)
        process = psutil.Process(reaper.pid)
        reaper.close()
        await asyncio.to_thread(watched.wait, 60)
        await until(lambda: not _is_alive(process))
        assert agent.poll() is None

    async def test_it_outlives_the_signals_that_end_a_worker(
        self, tagged: Tagged, reaper: Reaper
    ) -> None:
        family = Family.new()
        agent = await self.agent(tagged, family)
        reaper.watch(family)
        assert reaper.pid
        process = psutil.Process(reaper.pid)
        endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # All of them: under nohup SIGHUP is ignored from the start.
        await until(lambda: all(_ignores(process, number) for number in endings))
        for number in endings:
            process.send_signal(number)
        reaper.close()
        assert await asyncio.to_thread(agent.wait, 60) == -signal.SIGTERM

    async def test_a_killed_one_is_replaced_and_knows_everything(
        self, tagged: Tagged, reaper: Reaper, caplog: pytest.LogCaptureFixture
    ) -> None:
        family = Family.new()
        agent = await self.agent(tagged, family)
        reaper.watch(family.led_by(agent.pid))
        first = reaper.pid
        assert first
        os.kill(first, signal.SIGKILL)
        await until(lambda: reaper.pid not in (None, first))
        assert [record.__dict__["action"] for record in caplog.records] == ["reaper_died"]
        reaper.close()
        assert await asyncio.to_thread(agent.wait, 60) == -signal.SIGTERM

    async def test_it_kills_the_agents_of_a_worker_whose_lease_is_over_and_no_other_process(
        self, tagged: Tagged, reaper: Reaper
    ) -> None:
        """As when the worker stands still: nothing but the time makes it do so."""
        families = [Family.new(leased=True), Family.new()]
        agent, server = [await self.agent(tagged, family) for family in families]
        for family in families:
            reaper.watch(family)
        reaper.lease(self, processes.steady() + 0.5)
        assert await asyncio.to_thread(agent.wait, 60) == -signal.SIGKILL
        assert server.poll() is None

    async def test_a_stuck_one_is_replaced(self, tagged: Tagged, reaper: Reaper) -> None:
        family = Family.new()
        agent = await self.agent(tagged, family)
        reaper.watch(family)
        first = reaper.pid
        assert first
        os.kill(first, signal.SIGSTOP)
        for _ in range(2000):
            reaper.watch(family)
        assert reaper.pid != first
        reaper.close()
        assert await asyncio.to_thread(agent.wait, 60) == -signal.SIGTERM

    async def test_one_that_cannot_live_is_not_started_for_ever(
        self, reaper: Reaper, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/sh")  # refuses our arguments
        async with supervise(reaper=reaper):
            await until(lambda: len(caplog.records) == 5)
            await until(lambda: reaper.pid is None)
            reaper.watch(Family.new())
        assert reaper.pid is None
        assert len(caplog.records) == 5

    async def test_one_that_does_not_start_is_told_and_agents_run(
        self, reaper: Reaper, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        async with supervise(reaper=reaper) as agent:
            assert agent.env
        assert "agents would survive a kill -9" in caplog.records[0].getMessage()


def _ignores(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether the program is far enough to ignore a signal (ps knows it everywhere)."""
    masks = subprocess.run(
        [
            "ps",
            "-o",
            "ignored=" if sys.platform == "linux" else "sigignore=",
            "-p",
            str(process.pid),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return bool(int(masks.strip().lstrip("<") or "0", 16) & (1 << (number - 1)))


class TestFamilies:
    @pytest.fixture(params=["proc", "psutil"], autouse=True)
    def look(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look at processes in both ways; the second is what macOS has."""
        if request.param == "proc" and not Path("/proc/self/stat").exists():
            pytest.skip("this system has no /proc")
        monkeypatch.setattr(processes, "HAS_PROC", request.param == "proc")

    async def test_a_process_that_is_not_a_group_leader(self, tagged: Tagged) -> None:
        """An SDK spawns its program in the worker's own session: only descent and mark count."""
        family = Family.new()
        process = tagged.start(*NASTY, "hangs", "prompt", new_session=False)
        family = family.led_by(process.pid)
        assert [member.pid for member in processes.find([family])] == [process.pid]
        await stop([family])
        assert process.wait(60) == -signal.SIGTERM

    async def test_a_leaders_pid_that_was_given_to_a_stranger(self, tagged: Tagged) -> None:
        stranger = tagged.start(*NASTY, "hangs", "prompt")
        family = Family.new().led_by(stranger.pid)
        earlier = Family(family.mark, family.since, family.pid, family.start - 1)
        assert [member.pid for member in processes.find([family])] == [stranger.pid]
        assert processes.find([earlier]) == []

    async def test_marks_of_other_pid_namespaces_and_made_up_ones_are_no_orphans(
        self, tagged: Tagged
    ) -> None:
        dead = tagged.start("true")
        dead.wait()
        _, _, owner = Family.new().mark.partition("_")
        _, since, name = owner.split("_")
        marks = [f"12345_{dead.pid}_{since}_{name}", "nonsense", f"x_{name}"]
        for mark in marks:
            tagged.start(*NASTY, "hangs", "prompt", env={processes.MARK: mark})
        await until(lambda: len(tagged.alive()) == 3)
        assert not {family.mark for family in processes.orphans()} & set(marks)

    async def test_an_orphan_that_we_ourselves_belong_to_is_left_alone(
        self, tagged: Tagged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead = tagged.start("true")
        dead.wait()
        namespace, _, since, name = Family.new().mark.split("_")
        mark = f"{namespace}_{dead.pid}_{since}_{name}"
        tagged.start(*NASTY, "hangs", "prompt", env={processes.MARK: mark})
        await until(lambda: len(tagged.alive()) == 1)
        assert mark in {family.mark for family in processes.orphans()}
        monkeypatch.setenv(processes.MARK, mark)
        assert mark not in {family.mark for family in processes.orphans()}
