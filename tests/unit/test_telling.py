"""Nobody waits for Prefect without a word about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import override

import httpx
import pytest

from athanore.errors import reason
from athanore.runs.connection.telling import TellingTransport


class Server:
    """Answers 503, or not at all, until it is told to do its work."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.works = asyncio.Event()
        self.asked = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if self.silent:
            await self.works.wait()
        status = "200 OK" if self.works.is_set() else "503 Busy"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


class Lines(logging.Handler):
    """Keeps the lines that are logged, and tells of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.first = asyncio.Event()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.first.set()


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged meanwhile."""
    kept = Lines()
    logging.getLogger("athanore").addHandler(kept)
    yield kept
    logging.getLogger("athanore").removeHandler(kept)


@pytest.mark.parametrize(
    ("silent", "says"), [(True, "no answer yet"), (False, "it answers 503")], ids=["silent", "busy"]
)
async def test_a_request_that_waits_is_named(lines: Lines, silent: bool, says: str) -> None:
    server = Server(silent=silent)
    transport = TellingTransport(httpx.AsyncHTTPTransport(), timedelta(seconds=0.2))

    async def insist(client: httpx.AsyncClient, url: str) -> int:
        """Send a request until it is done, as Prefect's client does."""
        request = client.build_request("PATCH", f"{url}/work_queues/1")
        while True:
            response = await client.send(request)
            if response.status_code != 503:
                return response.status_code

    async with (
        asyncio.timeout(60),
        await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening,
        httpx.AsyncClient(transport=transport, timeout=60) as client,
    ):
        port = listening.sockets[0].getsockname()[1]
        work = asyncio.create_task(insist(client, f"http://127.0.0.1:{port}/api"))
        await lines.first.wait()
        server.works.set()
        assert await work == 200
    assert f"127.0.0.1:{port}: PATCH /api/work_queues/1 has taken" in lines.texts[0]
    assert says in lines.texts[0]


async def test_an_answer_at_once_needs_no_word(lines: Lines) -> None:
    server = Server(silent=False)
    server.works.set()
    transport = TellingTransport(httpx.AsyncHTTPTransport())
    async with (
        await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening,
        httpx.AsyncClient(transport=transport, timeout=60) as client,
    ):
        port = listening.sockets[0].getsockname()[1]
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
    assert lines.texts == []


def test_no_reason_is_empty() -> None:
    assert reason(httpx.ReadTimeout("")) == "ReadTimeout"
    assert reason(OSError(2, "No such file")) == "[Errno 2] No such file"
