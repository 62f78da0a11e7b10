"""Whether a Prefect of somebody else's answers web pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from athanore.launch.inspection.doctor import _web_pages as web_pages  # pyright: ignore[reportPrivateUsage]
from athanore.launch.inspection.findings import Level

pytestmark = pytest.mark.smoke


@asynccontextmanager
async def _server(only_as: str | None) -> AsyncGenerator[str]:
    """An HTTP server that answers under any name, or only under one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        known = only_as is None or f"host: {only_as}" in head
        status = "200 OK" if known else "403 Forbidden"
        body = '"3.8.8"' if known else '{"detail": "You have another name for me."}'
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            f"{body}".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/api"


@pytest.mark.parametrize(("only_as", "level"), [(None, Level.WARN), ("127.0.0.1", Level.OK)])
async def test_doctor_asks_under_a_foreign_name(only_as: str | None, level: Level) -> None:
    async with _server(only_as) as url:
        assert (await web_pages(url)).level is level
