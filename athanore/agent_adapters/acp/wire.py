"""The pipes of an agent's process, as messages of the protocol."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from typing import Any, Self, cast

from athanore.agent_adapters.common.output import LineSplitter

_LONGEST_MESSAGE = 64 * 1024 * 1024
_CHUNK = 65536


class Wire:
    """Sends and receives messages, one a line; what is no message goes to `on_noise`.

    Args:
        on_noise: is given each line of standard error, and of standard output that is no message.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_noise: Callable[[str], None]) -> None:
        self._process = process
        self._on_noise = on_noise
        self._reader = asyncio.StreamReader(limit=_LONGEST_MESSAGE)
        self._transports: list[asyncio.BaseTransport] = []
        self._writer: asyncio.WriteTransport | None = None
        self._noise: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        assert self._process.stdin
        assert self._process.stdout
        loop = asyncio.get_running_loop()
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), self._process.stdout
        )
        self._transports.append(reading)
        writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)
        self._transports.append(writing)
        self._writer = writing
        self._noise = asyncio.create_task(self._read_noise())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
        if self._noise is not None:
            self._noise.cancel()
            await asyncio.gather(self._noise, return_exceptions=True)

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message; one to an agent that is gone is lost."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Wait for the next message; None when the agent is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:  # too long, and dropped by the reader
                continue
            if not line:
                return None
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict):
                return cast("dict[str, Any]", message)
            self._on_noise(line.decode("utf-8", "replace").rstrip())

    async def close(self) -> None:
        """Close the pipes, once."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    async def drained(self, seconds: float) -> None:
        """Wait until all of standard error is read, but no longer than this."""
        if self._noise is not None:
            await asyncio.wait({self._noise}, timeout=seconds)

    async def _read_noise(self) -> None:
        assert self._process.stderr
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stderr
        )
        splitter = LineSplitter()
        try:
            while chunk := await reader.read(_CHUNK):
                for line in splitter.feed(chunk):
                    self._on_noise(line)
        finally:
            for line in splitter.close():
                self._on_noise(line)
            transport.close()
