"""The Claude CLI as a process of ours, with lines of JSON both ways.

`ClaudeProcess` is the transport that both SDKs accept in `query(transport=)`. Theirs merges the
worker's whole environment into the CLI's, ends the CLI alone (its shell commands live in sessions
of their own), and leaves even that alive when it is cancelled twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from athanore.agent_adapters.claude.messages import Json, Transcript
from athanore.agent_adapters.common.output import LineSplitter
from athanore.processes.supervisor import Supervised

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message of the CLI; a longer one is dropped."""

_CHUNK = 64 * 1024
_CLOSING = 2.0  # seconds for pipes to close and tasks to end, once all processes are gone

# What an SDK needs to keep the conversation going; the rest is for the transcript alone.
# claude-code-sdk ends the run at the first message type or block that it does not know.
_FOR_THE_SDK = frozenset(
    {"control_request", "control_response", "control_cancel_request", "system", "result"}
)


class ClaudeProcess:
    """One process of the CLI; `transcript` hears all that it says.

    `supervise` stops it with all that it started; `close_down` then frees what is left here.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.silent = asyncio.Event()
        """Set when standard output will bring nothing more."""
        self.resulted = asyncio.Event()
        """Set by each result of a turn."""

    async def start(
        self, agent: Supervised, command: Sequence[str], env: Mapping[str, str], cwd: Path | None
    ) -> int:
        """Start the CLI in a session of its own and return its pid; `env` is its whole environment.

        Raises:
            OSError: there is no such program or folder, or it may not be used.
        """
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=cwd,
            env={**env, **agent.env},
            start_new_session=True,
        )
        agent.led_by(self._process.pid)
        self.spawn(self._read_stderr(self._process))
        return self._process.pid

    def spawn[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that does not outlive this process."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    @property
    def exit_code(self) -> int | None:
        """The CLI's exit code, negative for a signal; None while it runs or never started."""
        return None if self._process is None else self._process.returncode

    def interrupt(self) -> None:
        """Interrupt the CLI, which then ends its turn with a result, unlike after TERM."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    async def wait(self) -> None:
        """Wait until the CLI itself has ended; while others hold its pipes, asyncio does not say.

        `exit_code` is there as soon as it has ended.
        """
        if self._process is not None:
            await self._process.wait()

    async def close_down(self) -> None:
        """Read to the end, learn the exit code, end the tasks; all processes have been stopped."""
        if self._process is not None:
            await self.end_input()
            last = {self.spawn(self.wait()), self.spawn(self.silent.wait()), *self._tasks[:1]}
            await asyncio.wait(last, timeout=_CLOSING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None
        splitter = LineSplitter()
        while chunk := await process.stderr.read(_CHUNK):
            self._transcript.hear()
            for line in splitter.feed(chunk):
                self._transcript.take_stderr(line)
        for line in splitter.close():
            self._transcript.take_stderr(line)

    # --- what an SDK calls (claude_agent_sdk.Transport, claude_code_sdk.Transport) --------------

    async def connect(self) -> None:
        """Nothing: the adapter has started the process already."""

    async def close(self) -> None:
        """Close standard input; the adapter sees to the process."""
        await self.end_input()

    async def end_input(self) -> None:
        """Close standard input: no further message will come."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def write(self, data: str) -> None:
        """Send one message.

        Raises:
            ConnectionError: the CLI has ended, or its input was closed.
        """
        if self._process is None or self._process.stdin is None or not self.is_ready():
            raise ConnectionError("the Claude CLI takes no messages any more")
        self._process.stdin.write(data.encode())
        await self._process.stdin.drain()

    def is_ready(self) -> bool:
        """True while the CLI can be written to."""
        process = self._process
        return (
            process is not None
            and process.returncode is None
            and process.stdin is not None
            and not process.stdin.is_closing()
        )

    async def read_messages(self) -> AsyncIterator[Json]:
        """Give every message to the transcript, and to the SDK those that it needs."""
        assert self._process is not None and self._process.stdout is not None
        try:
            async for line in _lines(self._process.stdout):
                message = _parse(line)
                if message is None:
                    continue
                self._transcript.take(message)
                if message.get("type") == "result":
                    self.resulted.set()
                if message.get("type") in _FOR_THE_SDK:
                    yield message
        finally:
            self.silent.set()


def _parse(line: bytes) -> Json | None:
    """One message, or None for a line that is none (a warning of the runtime, say)."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream; of one over `MESSAGE_LIMIT` only the beginning, which is no JSON."""
    pending = bytearray()
    while chunk := await stream.read(_CHUNK):
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            pending += piece[: MESSAGE_LIMIT - len(pending)]
            yield bytes(pending)
            pending.clear()
        pending += rest[: MESSAGE_LIMIT - len(pending)]
    if pending:
        yield bytes(pending)
