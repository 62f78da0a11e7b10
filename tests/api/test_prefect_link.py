"""The API's way to a Prefect server that hangs up, says nothing, or is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore import AgentDispatcher, MemoryAdapter
from athanore.api.prefect.link import PrefectLink
from athanore.api.security.auth import Gate, Role
from athanore.errors import PrefectUnavailableError
from athanore.runs.connection.clock import Clock
from athanore.runs.records import tokens
from athanore.runtime.apps import App


class Server:
    """Takes requests on a real socket, and hangs up, is silent, or answers."""

    def __init__(self) -> None:
        self.behaviour = "hang up"
        self.asked: list[str] = []
        self.silent_about: set[str] = set()
        self._silent: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().removeprefix("/api")
        self.asked.append(path)
        if self.behaviour == "be silent" or path in self.silent_about:
            self._silent.append(writer)
            return
        if self.behaviour == "know nothing":
            writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        if self.behaviour == "answer":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
        writer.close()

    @property
    def wanted(self) -> list[str]:
        """What was asked for apart from whether it is there."""
        return [path for path in self.asked if path != "/ready"]

    def close(self) -> None:
        for writer in self._silent:
            writer.close()


@asynccontextmanager
async def linked() -> AsyncGenerator[tuple[Server, PrefectLink]]:
    server = Server()
    sockets = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = sockets.sockets[0].getsockname()[1]
    async with sockets:
        try:
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
                async with PrefectLink(timedelta(seconds=8), Clock()) as link:
                    yield server, link
        finally:
            server.close()


LONG = timedelta(seconds=60)


async def read_run(link: PrefectLink, run_id: UUID, patience: timedelta = LONG) -> None:
    async with link.client(patience) as client:
        await client.read_flow_run(run_id)


async def is_back(link: PrefectLink) -> None:
    async with asyncio.timeout(60):
        while link.is_away:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_server_that_hangs_up_is_asked_twice_and_then_left_alone() -> None:
    async with linked() as (server, link):
        run = uuid4()
        with pytest.raises(PrefectUnavailableError):
            await read_run(link, run)
        assert server.wanted == 2 * [f"/flow_runs/{run}"]
        assert link.is_away
        for _ in range(5):
            with pytest.raises(PrefectUnavailableError):
                await read_run(link, uuid4())
        assert len(server.wanted) == 2, "it was asked again while it was away"

        server.behaviour = "answer"
        await is_back(link)
        with pytest.raises(ValueError, match="validation error"):
            await read_run(link, run)  # `{}` is no run, but it was asked for
        assert len(server.wanted) == 3


async def test_a_server_that_is_silent_is_waited_for_once() -> None:
    async with linked() as (server, link):
        server.behaviour = "be silent"
        with pytest.raises(PrefectUnavailableError):
            await read_run(link, uuid4(), patience=timedelta(seconds=0.5))
        assert link.is_away
        with pytest.raises(PrefectUnavailableError):
            await read_run(
                link, uuid4(), patience=timedelta(seconds=3600)
            )  # the test would not live to see its end
        assert len(server.wanted) == 1
        server.behaviour = "answer"
        await is_back(link)


async def test_a_timeout_of_the_callers_own_is_not_prefects() -> None:
    async with linked() as (_, link):
        with pytest.raises(TimeoutError):
            async with link.client():
                raise TimeoutError("of something else")
        assert not link.is_away


async def test_a_server_that_answers_others_is_busy_and_not_away() -> None:
    async with linked() as (server, link):
        server.behaviour = "answer"
        slow, quick = uuid4(), uuid4()
        server.silent_about.add(f"/flow_runs/{slow}")
        with pytest.raises(ValueError, match="validation error"):
            await read_run(link, quick)
        waiting = asyncio.create_task(read_run(link, slow, patience=timedelta(seconds=8)))
        async with asyncio.timeout(60):
            while len(server.wanted) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(ValueError, match="validation error"):
            await read_run(link, quick)
        with pytest.raises(PrefectUnavailableError, match="more requests"):
            await waiting
        assert not link.is_away


async def test_requests_that_all_wait_leave_a_way_to_find_out_that_prefect_is_back() -> None:
    async with linked() as (server, link):
        server.behaviour = "be silent"
        burst = [read_run(link, uuid4(), patience=timedelta(seconds=0.5)) for _ in range(100)]
        ended = await asyncio.gather(*burst, return_exceptions=True)
        assert {type(exc) for exc in ended} == {PrefectUnavailableError}
        assert link.is_away
        server.behaviour = "answer"
        await is_back(link)
        with pytest.raises(ValueError, match="validation error"):
            await read_run(link, uuid4())


async def test_made_up_tokens_take_turns_and_are_remembered_for_a_moment() -> None:
    app = App("run.py:dispatcher", AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"])))
    async with linked() as (server, link):
        gate = Gate(app, link)
        server.behaviour = "be silent"
        made_up = [tokens.new_token(uuid4()) for _ in range(50)]
        callers = [asyncio.create_task(gate.identify(t, write=False)) for t in made_up]
        async with asyncio.timeout(60):
            while len(server.wanted) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        server.behaviour = "know nothing"
        with pytest.raises(ObjectNotFound):
            await read_run(link, uuid4())  # everybody else is answered meanwhile
        assert len(server.wanted) == 5
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        token = tokens.new_token(uuid4())
        for _ in range(3):
            assert (await gate.identify(token, write=False)).role is Role.ANYBODY
        assert len(server.wanted) == 6
