"""Agents that are programs: one process for each attempt, followed line by line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import IO, Any, ClassVar, Literal, Protocol

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.common.output import LINE_LIMIT, LineSplitter, Tail
from athanore.agent_adapters.common.program import (
    exit_code,
    explain,
    fault_of,
    judge,
    not_started,
    spawn,
)
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from athanore.processes.supervisor import STOP_GRACE, supervise
from athanore.texts import operand

logger = logging.getLogger(__name__)

type Stream = Literal["stdout", "stderr"]

_CHUNK = 65536
_LINES_PER_TURN = 256  # after so many lines the event loop's other work has its turn
_DRAIN = 1.0  # seconds to read on when the program has ended and others hold its pipes
_INTERRUPT = 2.0  # seconds for the last words of a program that was interrupted
_LAST_DRAIN = 5.0  # and when these have ended too: the loop may be behind


class Reader(Protocol):
    """Reads the output of one attempt, line by line."""

    line_limit: int
    """Bytes of a line that are kept."""

    waits: bool
    """True while the agent only says that it waits, for its provider say: no sign of life."""

    is_over: bool
    """True once the agent only waits for a usage limit of its provider: it is stopped, because
    whoever gives the attempt back can wait without it."""

    def take(self, stream: Stream, line: str) -> Iterable[AgentEvent]:
        """Turn a line of output into events; called for each line, so it should be quick."""
        ...

    def last_words(self, line: str, events: Iterable[AgentEvent]) -> Iterable[str]:
        """Say what of a line belongs to the last words of the agent, which people read."""
        ...

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """Say how the attempt ended; None if the exit code alone says it."""
        ...


class SubprocessAgentAdapter:
    """Runs the route's command, with its arguments and the prompt as the last one.

    No shell is used, and stdin is empty. The environment is `job.env` and one variable by which
    the agent's processes are found. The attempt ends when the program itself ends; whatever it
    left running is then stopped. `exit_code` is negative for a signal, as in `subprocess`.

    Subclass it and override `build_command` for another command line, `parse_line` for a program
    whose output is more than text.
    """

    stop_grace: ClassVar[timedelta] = STOP_GRACE
    """The time between TERM and KILL."""

    interrupts: bool = False
    """Whether the program says what it has spent when it is interrupted, before it is stopped."""

    def build_command(self, job: AgentJob) -> list[str]:
        """Return the program and its arguments.

        In `job.prompt` a newline stands before a dash at its beginning, so that it can be no
        option; where the word before the prompt is `--` the newline is taken away again.

        Raises:
            ValueError: the job has no command; the message is the attempt's reason.
        """
        if not job.command:
            raise ValueError("the route has no command")
        return [*job.command, job.prompt]

    def parse_line(self, job: AgentJob, stream: Stream, line: str) -> Iterable[AgentEvent]:
        """Turn a line of output into events; called for each line, so it should be quick.

        The data of the last COST event become the result's `usage`. If this raises, the line
        passes as plain output.
        """
        return (output_event(stream, line),)

    def open_reader(self, job: AgentJob) -> Reader:
        """Return what reads the output of one attempt: by default, `parse_line` does."""
        return _ByLine(self, job)

    def _command(self, job: AgentJob) -> list[str]:
        safe = operand(job.prompt)
        words = self.build_command(replace(job, prompt=safe))
        exact = {i for i in range(1, len(words)) if words[i - 1] == "--" and words[i] == safe}
        return [job.prompt if i in exact else word for i, word in enumerate(words)]

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        try:
            command = self._command(job)
        except ValueError as error:
            return not_started(str(error))
        async with contextlib.AsyncExitStack() as afterwards:
            async with supervise(self.stop_grace) as agent:
                try:
                    process = spawn(command, cwd=job.cwd, env={**job.env, **agent.env})
                except (OSError, ValueError) as error:
                    return explain(error, command, job)
                # Until all is stopped nobody waits for it, so that the kernel keeps its pid for us.
                afterwards.callback(process.poll)
                agent.led_by(process.pid)
                job.emit(_started(process.pid, command, job.prompt))
                following = _Following(self.open_reader(job), job, process)
                await afterwards.enter_async_context(following)
                code = None
                try:
                    async with job.time_limit().kept():
                        code = await following.end_of(process.pid)
                except TimeoutError:
                    result = AgentResult(AgentOutcome.TIMED_OUT, "timed out")
                    await self._interrupt(process.pid, following)
                except asyncio.CancelledError:
                    await self._interrupt(process.pid, following)
                    raise
                else:
                    result = None
                    await following.drain(_DRAIN)
            await following.drain(_LAST_DRAIN)
            result = result or following.verdict(code) or _judged(code)
            tail, usage = result.output_tail or following.tail(), result.usage or following.usage
            return replace(result, output_tail=tail, usage=usage)

    async def _interrupt(self, pid: int, following: _Following) -> None:
        """Have the program say what it has spent; a further cancellation cuts that short."""
        if not self.interrupts:
            return
        os.kill(pid, signal.SIGINT)  # nobody has waited for it: its pid is its own
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_INTERRUPT):
                await exit_code(pid)
                await following.drain(_INTERRUPT)


def _judged(code: int | None) -> AgentResult:
    outcome, reason = judge(code)
    return AgentResult(outcome, reason, code, fault=fault_of(code))


class _ByLine:
    """Leaves the reading to an adapter's `parse_line`."""

    line_limit = LINE_LIMIT
    waits = False
    is_over = False

    def __init__(self, adapter: SubprocessAgentAdapter, job: AgentJob) -> None:
        self._adapter = adapter
        self._job = job

    def take(self, stream: Stream, line: str) -> Iterable[AgentEvent]:
        return self._adapter.parse_line(self._job, stream, line)

    def last_words(self, line: str, events: Iterable[AgentEvent]) -> Iterable[str]:
        return (line,)

    def verdict(self, exit_code: int | None) -> None:
        return None


class _Following:
    """Reads both streams of a program to their ends and tells what comes."""

    def __init__(self, reader: Reader, job: AgentJob, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        assert process.stderr
        self.usage: dict[str, Any] = {}
        self._reader = reader
        self._job = job
        self._parser_failed = False
        self._pipes: dict[Stream, IO[bytes]] = {"stdout": process.stdout, "stderr": process.stderr}
        self._tail = Tail()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def __aenter__(self) -> None:
        self._tasks = {
            asyncio.create_task(self._read(pipe, stream)) for stream, pipe in self._pipes.items()
        }
        for task in self._tasks:
            task.add_done_callback(self._reading_ended)

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for pipe in self._pipes.values():
                pipe.close()
        for end in ends:
            if isinstance(end, Exception):  # a bug, of `emit` say; nobody else would see it
                raise end

    def _reading_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():  # nobody reads a program that works on
            self._over.set()

    async def end_of(self, pid: int) -> int | None:
        """Wait for the program's exit code; None once there is nothing to wait for."""
        exits = asyncio.ensure_future(exit_code(pid))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((exits, over), return_when=asyncio.FIRST_COMPLETED)
            return exits.result() if exits.done() else None
        finally:
            exits.cancel()
            over.cancel()
            await asyncio.gather(exits, over, return_exceptions=True)

    async def drain(self, seconds: float) -> None:
        """Read on until both streams have ended, but no longer than this."""
        await asyncio.wait(self._tasks, timeout=seconds)

    def tail(self) -> str:
        """The last lines of both streams, in the order in which they came."""
        return str(self._tail)

    def verdict(self, code: int | None) -> AgentResult | None:
        """What the reader makes of it all; its failure is nobody's but ours."""
        try:
            return self._reader.verdict(code)
        except Exception:
            self._tell_failure()
            return None

    async def _read(self, pipe: IO[bytes], stream: Stream) -> None:
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        splitter = LineSplitter(self._reader.line_limit)
        try:
            while chunk := await reader.read(_CHUNK):
                for count, line in enumerate(splitter.feed(chunk), 1):
                    self._tell(stream, line)
                    if count % _LINES_PER_TURN == 0:
                        await asyncio.sleep(0)
                if not self._reader.waits:  # a dot, or a line that is drawn again, is no line
                    self._job.alive()
        finally:
            for line in splitter.close():
                self._tell(stream, line)
            transport.close()

    def _tell(self, stream: Stream, line: str) -> None:
        events = self._parse(stream, line)
        for words in self._reader.last_words(line, events):
            self._tail.add(words)
        for event in events:
            if event.kind is EventKind.COST:
                self.usage = dict(event.data)
            self._job.emit(event)
        if self._reader.is_over:
            self._over.set()

    def _parse(self, stream: Stream, line: str) -> tuple[AgentEvent, ...]:
        try:
            return tuple(self._reader.take(stream, line))
        except Exception:
            self._tell_failure()
            return (output_event(stream, line),)

    def _tell_failure(self) -> None:
        if not self._parser_failed:
            logger.exception(
                "The output of the agent of task %r cannot be read; such lines pass as plain "
                "output.",
                self._job.task.id,
                extra={"action": "agent_parse_failed"},
            )
        self._parser_failed = True


def output_event(stream: Stream, line: str) -> AgentEvent:
    """One line of output, as an event."""
    return AgentEvent(EventKind.OUTPUT, {"stream": stream, "text": line})


def _started(pid: int, command: list[str], prompt: str) -> AgentEvent:
    """The first event: the pid and the command, without the prompt."""
    words = [
        word.replace(operand(prompt), "...").replace(prompt, "...") if prompt else word
        for word in command
    ]
    return AgentEvent(EventKind.STARTED, {"pid": pid, "command": shlex.join(words)})
