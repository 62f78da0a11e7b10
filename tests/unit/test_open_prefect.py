"""Tokens over a Prefect that asks nobody for credentials are warned of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.launch.foreground import at_work
from athanore.launch.prefect.prefect_access import is_open

pytestmark = pytest.mark.smoke


@asynccontextmanager
async def answering(status: str) -> AsyncGenerator[str]:
    """A server on a real socket that gives every request the same answer."""

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"


async def test_who_gets_an_answer_without_credentials_is_told() -> None:
    async with answering("200 OK") as url:
        assert await is_open(url)
    async with answering("401 Unauthorized") as url:
        assert not await is_open(url)
    assert not await is_open(url), "nothing answers any more"


@pytest.mark.parametrize(
    ("auth", "status", "warned"),
    [("token", "200 OK", True), ("token", "401 Unauthorized", False), ("open", "200 OK", False)],
)
async def test_the_start_warns_of_tokens_over_an_open_prefect(
    auth: str,
    status: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", auth)
    monkeypatch.setenv("ATHANORE_API_KEY", "the operators' key")
    dispatcher = AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"]))
    async with answering(status) as url, at_work(dispatcher, "run.py:dispatcher", url):
        pass
    said = [r for r in caplog.records if "answers without credentials" in r.getMessage()]
    assert bool(said) is warned
