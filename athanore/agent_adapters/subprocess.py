"""Agents that are programs: one process for each attempt, followed line by line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import IO, Any, ClassVar, Literal

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.output import LineSplitter, Tail
from athanore.agent_adapters.program import (
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
_LAST_DRAIN = 5.0  # and when these have ended too: the loop may be behind


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
        return (_output(stream, line),)

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
                following = _Following(self, job, process)
                await afterwards.enter_async_context(following)
                limit = job.timeout.total_seconds() if job.timeout else None
                try:
                    async with asyncio.timeout(limit):
                        code = await exit_code(process.pid)
                except TimeoutError:
                    outcome, reason, code = AgentOutcome.TIMED_OUT, "timed out", None
                else:
                    outcome, reason = judge(code)
                    await following.drain(_DRAIN)
            await following.drain(_LAST_DRAIN)
            return AgentResult(
                outcome,
                reason,
                code,
                output_tail=following.tail(),
                fault=fault_of(code),
                usage=following.usage,
            )


class _Following:
    """Reads both streams of a program to their ends and tells what comes."""

    def __init__(
        self, adapter: SubprocessAgentAdapter, job: AgentJob, process: subprocess.Popen[bytes]
    ) -> None:
        assert process.stdout
        assert process.stderr
        self.usage: dict[str, Any] = {}
        self._adapter = adapter
        self._job = job
        self._parser_failed = False
        self._pipes: dict[Stream, IO[bytes]] = {"stdout": process.stdout, "stderr": process.stderr}
        self._tail = Tail()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> None:
        self._tasks = {
            asyncio.create_task(self._read(pipe, stream)) for stream, pipe in self._pipes.items()
        }

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

    async def drain(self, seconds: float) -> None:
        """Read on until both streams have ended, but no longer than this."""
        await asyncio.wait(self._tasks, timeout=seconds)

    def tail(self) -> str:
        """The last lines of both streams, in the order in which they came."""
        return str(self._tail)

    async def _read(self, pipe: IO[bytes], stream: Stream) -> None:
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        splitter = LineSplitter()
        try:
            while chunk := await reader.read(_CHUNK):
                self._job.alive()  # a dot, or a line that is drawn again, is no line
                for count, line in enumerate(splitter.feed(chunk), 1):
                    self._tell(stream, line)
                    if count % _LINES_PER_TURN == 0:
                        await asyncio.sleep(0)
        finally:
            for line in splitter.close():
                self._tell(stream, line)
            transport.close()

    def _tell(self, stream: Stream, line: str) -> None:
        self._tail.add(line)
        for event in self._parse(stream, line):
            if event.kind is EventKind.COST:
                self.usage = dict(event.data)
            self._job.emit(event)

    def _parse(self, stream: Stream, line: str) -> Iterable[AgentEvent]:
        try:
            return tuple(self._adapter.parse_line(self._job, stream, line))
        except Exception:
            if not self._parser_failed:
                logger.exception(
                    "%s.parse_line failed; such lines pass as plain output.",
                    type(self._adapter).__name__,
                    extra={"action": "agent_parse_failed"},
                )
            self._parser_failed = True
            return (_output(stream, line),)


def _output(stream: Stream, line: str) -> AgentEvent:
    return AgentEvent(EventKind.OUTPUT, {"stream": stream, "text": line})


def _started(pid: int, command: list[str], prompt: str) -> AgentEvent:
    """The first event: the pid and the command, without the prompt."""
    words = [
        word.replace(operand(prompt), "...").replace(prompt, "...") if prompt else word
        for word in command
    ]
    return AgentEvent(EventKind.STARTED, {"pid": pid, "command": shlex.join(words)})
