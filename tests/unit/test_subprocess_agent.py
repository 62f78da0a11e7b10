"""SubprocessAgentAdapter against real programs that behave badly."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, cast

import anyio
import psutil
import pytest

from athanore.agent_adapters.base import AgentJob, RouteView
from athanore.agent_adapters.common.output import CUT, LINE_LIMIT, LineSplitter
from athanore.agent_adapters.subprocess import Stream, SubprocessAgentAdapter
from athanore.models import AgentEvent, AgentOutcome, EventKind, Task
from athanore.processes import family
from athanore.processes.supervisor import default_reaper
from athanore.routing.routes import Route
from athanore.testing.agent_contract import Attempt, Case

NASTY = Path(__file__).parent.parent / "agents" / "nasty.py"


def prompt(task_id: str, task_name: str) -> str:
    return f"Work on {task_id}: {task_name}"


class ImpatientAgent(SubprocessAgentAdapter):
    stop_grace = timedelta(seconds=0.5)


def job_for(*words: str, command: str = f"{sys.executable} -I -S {NASTY}") -> AgentJob:
    route = Route("Todo", prompt, command=command, args=words)
    task, env = Task("1", "Task", "Todo"), dict(os.environ)
    # pyright does not see what the descriptors of a route give.
    return AgentJob(task, cast(RouteView, route), "the prompt", env=env, command=route.words())


def attempt_at(*words: str, timeout: timedelta | None = None) -> Attempt:
    return Attempt(Case(ImpatientAgent(), job_for(*words)), timeout=timeout)


class TestOutcomes:
    async def test_exit_code_0_is_success(self) -> None:
        result = await attempt_at("exits", "0").run()
        assert (result.outcome, result.reason, result.exit_code) == (
            AgentOutcome.SUCCEEDED,
            "",
            0,
        )

    async def test_another_exit_code_is_a_failure_that_names_it(self) -> None:
        result = await attempt_at("exits", "7").run()
        assert (result.outcome, result.reason, result.exit_code, result.retryable) == (
            AgentOutcome.FAILED,
            "exit code 7",
            7,
            True,
        )

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGUSR1"])
    async def test_a_signal_is_a_failure_that_names_it(self, name: str) -> None:
        result = await attempt_at("dies_of", name).run()
        assert result.reason == f"killed by {name}"
        assert result.exit_code == -signal.Signals[name]

    async def test_an_exit_code_that_somebody_else_took_is_no_success(self) -> None:
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            result = await attempt_at("exits", "3").run()
        finally:
            signal.signal(signal.SIGCHLD, before)
        assert result.outcome is AgentOutcome.FAILED
        assert result.reason.startswith("exit code lost")

    async def test_it_works_where_the_system_tells_nobody_of_an_exit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        assert (await attempt_at("exits", "7").run()).exit_code == 7

    async def test_the_tail_is_the_end_of_both_streams(self) -> None:
        job = job_for("-c", "for i in $(seq 99); do echo $i; done", command="sh")
        result = await SubprocessAgentAdapter().run(job)
        assert result.output_tail == "\n".join(str(n) for n in range(80, 100))
        job = job_for("-c", "echo a warning >&2; sleep 0.3; echo the error", command="sh")
        result = await SubprocessAgentAdapter().run(job)
        assert result.output_tail == "a warning\nthe error"


class TestCannotStart:
    async def refused(self, job: AgentJob) -> str:
        """Run it, and return the reason of a failure that no retry can mend."""
        result = await SubprocessAgentAdapter().run(job)
        assert result.outcome is AgentOutcome.FAILED
        assert not result.retryable
        return result.reason

    async def test_a_missing_command_is_named(self) -> None:
        job = job_for(command="no-such-agent --fast")
        assert await self.refused(job) == "command not found: 'no-such-agent'"

    async def test_the_command_is_looked_for_in_the_path_of_the_job(self, tmp_path: Path) -> None:
        program = tmp_path / "my-agent"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        job = replace(job_for(command="my-agent"), env={"PATH": str(tmp_path)})
        assert (await SubprocessAgentAdapter().run(job)).succeeded

    async def test_a_file_that_is_not_executable(self, tmp_path: Path) -> None:
        (tmp_path / "agent").write_text("#!/bin/sh\n")
        job = job_for(command=str(tmp_path / "agent"))
        assert await self.refused(job) == f"not executable: '{tmp_path}/agent'"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("#!/no/such/python\n", "the interpreter of the script './agent' does not exist"),
            ("echo hello\n", "not a program: './agent' (does it lack a #! line?)"),
        ],
    )
    async def test_a_script_that_cannot_run(self, tmp_path: Path, text: str, reason: str) -> None:
        (tmp_path / "agent").write_text(text)
        (tmp_path / "agent").chmod(0o755)
        job = replace(job_for(command="./agent"), cwd=tmp_path)
        assert await self.refused(job) == reason

    async def test_a_missing_working_directory(self, tmp_path: Path) -> None:
        job = replace(job_for("succeeds"), cwd=tmp_path / "gone")
        assert await self.refused(job) == (
            f"working directory '{tmp_path}/gone': No such file or directory"
        )

    async def test_a_prompt_that_is_too_long_for_the_system(self) -> None:
        job = replace(job_for("succeeds"), prompt="x" * 20_000_000)
        assert await self.refused(job) == (
            "the prompt of 20000000 bytes is too long for a program; "
            "let the agent read its task from $ATHANORE_API_URL/tasks/ID instead"
        )

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    async def test_a_prompt_that_no_program_can_be_given(self, text: str) -> None:
        reason = await self.refused(replace(job_for("succeeds"), prompt=text))
        assert reason.startswith("the prompt holds a character that no program can be given")

    async def test_no_command_never_runs_the_prompt(self) -> None:
        job = replace(job_for(command=""), prompt="/bin/true")
        assert await self.refused(job) == "the route has no command"

    async def test_a_lack_of_descriptors_may_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(family, "KILL_PATIENCE", 0.1)  # seconds that it looks for one
        await attempt_at("succeeds").run()  # the reaper runs
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, hard))
        try:
            result = await ImpatientAgent().run(job_for("succeeds"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(taken)
        assert result.retryable
        assert result.reason == f"cannot start {sys.executable!r}: Too many open files"


class TestWhatTheAgentGets:
    async def test_directory_environment_prompt_and_a_session_of_its_own(
        self, tmp_path: Path
    ) -> None:
        job = replace(job_for("tells"), cwd=tmp_path, env={"ONE": "1", "LC_CTYPE": "C.UTF-8"})
        attempt = Attempt(Case(SubprocessAgentAdapter(), job))
        await attempt.run()
        assert attempt.lines() == [
            f"cwd {tmp_path}",
            f"env {['ATHANORE_CONTRACT', family.MARK, 'LC_CTYPE', 'ONE']}",
            "prompt 'the prompt'",
            "leads True",
        ]

    async def test_an_empty_stdin(self) -> None:
        attempt = attempt_at("reads_stdin")
        await attempt.run()
        assert attempt.lines() == ["stdin ''"]

    async def test_the_start_is_told_without_the_prompt(self) -> None:
        attempt = attempt_at("succeeds")
        await attempt.run()
        started = attempt.events[0]
        assert started.data["command"].endswith("nasty.py succeeds ...")
        assert "the prompt" not in str(started.data)


class TestThePromptIsNoOption:
    @pytest.mark.parametrize(
        ("args", "text", "told"),
        [
            (["-p"], "Fix it", ["-p", "Fix it"]),
            (["-p"], "--help", ["-p", "\n--help"]),
            (["-p"], "-p", ["-p", "\n-p"]),
            ([], "---\ntitle: x", ["\n---\ntitle: x"]),
            ([], "--", ["\n--"]),
            (["exec", "--"], "--help", ["exec", "--", "--help"]),
            (["--"], "--", ["--", "--"]),
            (["--"], "\n-p", ["--", "\n-p"]),
        ],
    )
    async def test_of_a_route(self, args: list[str], text: str, told: list[str]) -> None:
        command = f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' agent"
        route = Route("Todo", prompt, command=command, args=tuple(args))
        job = replace(job_for(), prompt=text, command=route.words())
        attempt = Attempt(Case(SubprocessAgentAdapter(), job))
        assert (await attempt.run()).succeeded
        assert json.loads(attempt.lines()[0]) == ["agent", *told]
        assert route.format_command(text)[-1] == told[-1]
        shown = str(attempt.events[0].data["command"])
        assert shown.endswith(" ...")

    async def test_of_an_adapter_that_builds_the_command_itself(self) -> None:
        class Reordered(SubprocessAgentAdapter):
            def build_command(self, job: AgentJob) -> list[str]:
                return ["echo", job.prompt, "--", job.prompt]

        job = replace(job_for(), prompt="-n")
        attempt = Attempt(Case(Reordered(), job))
        await attempt.run()
        assert attempt.lines() == ["", "-n -- -n"]


class TestOutput:
    async def test_invalid_utf8_is_replaced_and_a_partial_last_line_counts(self) -> None:
        attempt = attempt_at("invalid_utf8")
        await attempt.run()
        assert attempt.lines() == ["good", "b\ufffd\ufffdd", "\u00e9", "last \ufffd"]

    async def test_a_line_of_10_mb_is_cut_and_marked(self) -> None:
        attempt = attempt_at("one_line", "10")
        assert (await attempt.run()).succeeded
        assert attempt.lines() == ["x" * LINE_LIMIT + CUT]

    async def test_both_streams_are_read_all_along(self) -> None:
        attempt = attempt_at("both_streams")
        assert (await attempt.run()).succeeded
        streams = [e.data["stream"] for e in attempt.events if e.kind is EventKind.OUTPUT]
        assert (streams.count("stdout"), streams.count("stderr")) == (2, 4)

    @pytest.mark.parametrize("megabytes", [100, pytest.param(1000, marks=pytest.mark.nightly)])
    def test_very_much_in_bounded_memory_while_the_loop_does_other_work(
        self, megabytes: int
    ) -> None:
        program = [sys.executable, str(NASTY.with_name("listener.py")), str(megabytes)]
        told = json.loads(subprocess.run(program, check=True, capture_output=True).stdout)
        assert told["outcome"] == AgentOutcome.SUCCEEDED
        assert (told["lines"], told["size"]) == (megabytes * 1000, megabytes * 1_000_000)
        assert told["turns"] > megabytes
        assert told["grown"] < 20_000_000

    async def test_bytes_without_a_newline_are_signs_of_life(self) -> None:
        for where in ("", ">&2"):
            heard = asyncio.Event()
            job = job_for("-c", rf"printf '\r 10%%' {where}; sleep 1000", command="sh")
            job = replace(job, alive=heard.set, timeout=timedelta(seconds=60))
            attempt = asyncio.create_task(ImpatientAgent().run(job))
            ends = {attempt, asyncio.create_task(heard.wait())}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert not attempt.done(), where
            attempt.cancel()
            await asyncio.wait(ends)

    async def test_very_many_short_lines_do_not_starve_the_loop(self) -> None:
        turns = told = worst = 0

        def count(event: AgentEvent) -> None:
            nonlocal told
            told += 1

        job = replace(job_for("writes", "1", "2"), emit=count)
        task = asyncio.create_task(SubprocessAgentAdapter().run(job))
        while not task.done():
            before = told
            await asyncio.sleep(0)
            worst = max(worst, told - before)
            turns += 1
        assert told == 500_001
        assert worst <= 1024

    async def test_a_subclass_reads_more_than_text_in_a_line(self) -> None:
        class Parsing(SubprocessAgentAdapter):
            def parse_line(self, job: AgentJob, stream: Stream, line: str) -> Iterable[AgentEvent]:
                kind, _, rest = line.partition(" ")
                if kind == "cost":
                    yield AgentEvent(EventKind.COST, {"cost_usd": float(rest)})
                elif kind == "tool":
                    yield AgentEvent(EventKind.TOOL_USE, {"name": rest})

        script = "echo cost 0.5; echo noise; echo tool curl; echo cost 1.5; echo cost much"
        attempt = Attempt(Case(Parsing(), job_for("-c", script, command="sh")))
        result = await attempt.run()
        assert result.usage == {"cost_usd": 1.5}
        assert [event.kind for event in attempt.events] == [
            EventKind.STARTED,
            EventKind.COST,
            EventKind.TOOL_USE,
            EventKind.COST,
            EventKind.OUTPUT,  # the line that the parser failed at
        ]

    async def test_a_bug_in_emit_comes_out_and_leaves_nothing(self) -> None:
        attempt = attempt_at("hangs")

        def broken(event: AgentEvent) -> None:
            if event.kind is EventKind.OUTPUT:
                raise KeyError("bug")

        job = replace(attempt.job, emit=broken, timeout=timedelta(hours=1))
        limit = asyncio.timeout(60)
        with pytest.raises(KeyError, match="bug"):
            async with limit:
                await ImpatientAgent().run(job)
        assert not limit.expired()
        assert attempt.processes() == []


class TestLineSplitter:
    def lines(self, *chunks: bytes) -> list[str]:
        splitter = LineSplitter()
        lines = [line for chunk in chunks for line in splitter.feed(chunk)]
        return [*lines, *splitter.close()]

    def test_chunks_do_not_matter(self) -> None:
        assert self.lines(b"a\nb", b"c\n", b"\n", b"d") == ["a", "bc", "", "d"]
        assert self.lines(b"\xc3", b"\xa9\n") == ["\u00e9"]
        assert self.lines() == []

    def test_nul_is_replaced(self) -> None:
        assert self.lines(b"bad\0words\n", b"\0") == ["bad\ufffdwords", "\ufffd"]
        assert self.lines(b"\0" * (LINE_LIMIT + 1)) == ["\ufffd" * LINE_LIMIT + CUT]

    def test_the_longest_whole_line(self) -> None:
        assert self.lines(b"x" * LINE_LIMIT + b"\n") == ["x" * LINE_LIMIT]

    def test_one_byte_more_is_cut_in_the_middle_of_no_character(self) -> None:
        text = "x" + "\u00e9" * (LINE_LIMIT // 2) + "\nnext"
        assert self.lines(text.encode()) == ["x" + "\u00e9" * (LINE_LIMIT // 2 - 1) + CUT, "next"]


class TestNothingIsLeft:
    async def test_when_descriptors_are_lacking_for_a_while(self) -> None:
        attempt = attempt_at("ignores_term")
        task = await attempt.start()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, hard))
        try:
            task.cancel()
            await asyncio.wait([task], timeout=0.2)
            assert not task.done()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(taken)
        await asyncio.wait([task])
        assert attempt.processes() == []

    @pytest.mark.parametrize(
        "behaviour", [("forks", "20"), ("forks_group",), ("daemonises",)], ids=" ".join
    )
    async def test_after_an_agent_that_ended_well(self, behaviour: tuple[str, ...]) -> None:
        attempt = attempt_at(*behaviour)
        assert (await attempt.run()).succeeded
        assert attempt.processes() == []

    @pytest.mark.parametrize("look", ["proc", "psutil"])
    async def test_of_a_child_that_kept_only_its_parent(
        self, look: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(family, "HAS_PROC", look == "proc")
        attempt = attempt_at("escapes")
        task = await attempt.start()
        (leader,) = attempt.processes()
        children = psutil.Process(leader).children()
        assert len(children) == 1
        task.cancel()
        await asyncio.wait([task])
        assert not any(map(_alive, children))

    async def test_without_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(family, "HAS_PROC", False)
        attempt = attempt_at("daemonises")
        assert (await attempt.run()).succeeded
        assert attempt.processes() == []

    async def test_an_agent_that_closes_its_pipes_is_waited_for(self, tmp_path: Path) -> None:
        job = job_for("closes_pipes")
        job = replace(job, env={**job.env, "MAY_END": str(tmp_path / "may-end")})
        attempt = Attempt(Case(ImpatientAgent(), job))
        task = asyncio.create_task(attempt.run())
        await until(lambda: _pipes_closed(attempt))
        assert not task.done()
        (tmp_path / "may-end").touch()
        assert (await task).exit_code == 3

    async def test_last_words_after_term_are_heard(self) -> None:
        attempt = Attempt(Case(SubprocessAgentAdapter(), job_for("heeds_term")))
        task = await attempt.start()
        task.cancel()
        await asyncio.wait([task])
        assert attempt.lines() == ["ready", "last words"]

    async def test_a_scope_of_anyio_that_is_cancelled(self) -> None:
        attempt = attempt_at("ignores_term")
        cancellations = 0

        async def run() -> None:
            nonlocal cancellations
            try:
                await attempt.run()
            finally:
                task = asyncio.current_task()
                cancellations = task.cancelling() if task else 0

        async def cancel_when_ready() -> None:
            await until(lambda: "ready" in attempt.lines())
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            group.start_soon(cancel_when_ready)
        assert attempt.processes() == []
        assert 0 < cancellations < 10  # and not one in each turn of the loop

    async def test_100_at_once_take_no_thread_and_no_descriptor_each(self) -> None:
        await attempt_at("succeeds").run()
        gc.collect()  # what earlier tests left is closed now, and not meanwhile
        threads, fds = threading.active_count(), psutil.Process().num_fds()
        most = 0

        def watch(event: AgentEvent) -> None:
            nonlocal most
            most = max(most, threading.active_count())

        jobs = [
            replace(job_for("0.3", command="sleep"), prompt="0", emit=watch) for _ in range(100)
        ]
        with no_zombies():
            results = await asyncio.gather(*(SubprocessAgentAdapter().run(job) for job in jobs))
        assert all(result.succeeded for result in results)
        assert most <= threads
        assert psutil.Process().num_fds() <= fds

    @pytest.mark.parametrize("agents", [200, pytest.param(1000, marks=pytest.mark.nightly)])
    async def test_very_many_agents_that_exit_at_once(self, agents: int) -> None:
        slots = asyncio.Semaphore(8)

        async def run(code: int) -> int | None:
            job = replace(job_for("-c", "echo done; exit $0", command="sh"), prompt=str(code))
            async with slots:
                return (await SubprocessAgentAdapter().run(job)).exit_code

        codes = [n % 3 for n in range(agents)]
        await asyncio.gather(*map(run, codes[:100]))
        before = Held.now()
        with no_zombies():
            assert await asyncio.gather(*map(run, codes)) == codes
        after = Held.now()
        assert after.reaper == before.reaper
        assert after.descriptors <= before.descriptors
        assert after.threads <= before.threads
        assert after.memory - before.memory < 10_000_000  # a few kB an agent would be a leak
        assert after.reapers_memory - before.reapers_memory < 1_000_000

    def test_an_agent_is_stopped_though_the_main_thread_has_ended(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(_THREADED.format(folder=str(NASTY.parent.parent.parent)))
        subprocess.run([sys.executable, program, tmp_path], check=True, timeout=60)
        assert (tmp_path / "outcome").read_text() == "timed_out"


class Held(NamedTuple):
    """What this process and its reaper hold."""

    reaper: int
    descriptors: int
    threads: int
    memory: int
    reapers_memory: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        me, reaper = psutil.Process(), psutil.Process(default_reaper().pid)
        held = (reaper.pid, me.num_fds(), threading.active_count())
        return cls(*held, me.memory_info().rss, reaper.memory_info().rss)


_THREADED = """
import sys; sys.path.insert(0, {folder!r})
import asyncio, os, threading, time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.models import Task
from athanore.routing.routes import Route

def work():
    threading.main_thread().join()
    route = Route("Todo", lambda a, b: "", command="sleep")
    job = AgentJob(Task("1", "T", "Todo"), route, "60", timeout=timedelta(seconds=0.2),
                   env=dict(os.environ), command=route.words())
    result = asyncio.run(SubprocessAgentAdapter().run(job))
    Path(sys.argv[1], "outcome").write_text(result.outcome)

threading.Thread(target=work).start()
"""


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail after a minute."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pipes_closed(attempt: Attempt) -> bool:
    """Whether the agent runs and holds neither stdout nor stderr any more."""
    pids = attempt.processes()
    if not pids:
        return False
    fds = Path(f"/proc/{pids[0]}/fd")
    if not fds.exists():
        return any(event.kind is EventKind.STARTED for event in attempt.events)
    return NASTY.name in " ".join(psutil.Process(pids[0]).cmdline()) and not (
        (fds / "1").exists() or (fds / "2").exists()
    )


@contextmanager
def no_zombies() -> Generator[None]:
    """Check that the block leaves no ended child behind that nobody waited for."""
    yield
    zombies = [p for p in psutil.Process().children() if p.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []
