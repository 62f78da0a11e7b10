"""The connections to Prefect's API: requests that are cancelled leave none of them taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.errors import PrefectUnavailableError
from athanore.runs.connection.transports import http_transport, prefect_client
from athanore.worker import client as client_module
from athanore.worker.client import PatientTransport
from athanore.worker.steady import steadily

pytestmark = pytest.mark.smoke

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Slow:
    """A server on a real socket that answers only once it is let.

    Attributes:
        faults: the statuses that it answers first.
    """

    def __init__(self) -> None:
        self.faults: list[int] = []
        self.may_answer = asyncio.Event()
        self.connections = 0
        self.asked = 0
        self.target = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.target = head.split()[1].decode()
                self.asked += 1
                await self.may_answer.wait()
                fault = self.faults.pop(0) if self.faults else 200
                writer.write(ANSWER.replace(b"200 OK", f"{fault} Said".encode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served() -> AsyncGenerator[tuple[Slow, str]]:
    slow = Slow()
    server = await asyncio.start_server(slow.handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    async with server:
        try:
            with temporary_settings({PREFECT_API_URL: url}):
                yield slow, url
        finally:
            slow.may_answer.set()


async def test_a_burst_of_requests_that_are_cancelled_leaves_no_connection_taken() -> None:
    async with served() as (slow, url):
        client = httpx.AsyncClient(transport=http_transport(), timeout=60)
        async with client, asyncio.timeout(60):
            burst = [asyncio.create_task(client.get(url)) for _ in range(200)]
            while slow.asked < 16:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for request in burst[:16]:
                request.cancel()
            for _ in range(2):  # others have just been given what those had
                await asyncio.sleep(0)
            for request in burst[16:]:
                request.cancel()
            await asyncio.gather(*burst, return_exceptions=True)
            slow.may_answer.set()
            later = await asyncio.gather(*(client.get(url) for _ in range(50)))
            assert {answer.status_code for answer in later} == {200}


async def test_a_connection_is_used_again_when_its_answer_was_read() -> None:
    async with served() as (slow, url):
        slow.may_answer.set()
        async with httpx.AsyncClient(transport=http_transport(), timeout=60) as client:
            for _ in range(3):
                await client.get(url)
            assert (slow.asked, slow.connections) == (3, 1)
            async with client.stream("GET", url):
                pass  # its answer is not read, so that connection is of no use any more
            await client.get(url)
            assert (slow.asked, slow.connections) == (5, 2)


async def test_after_an_outage_no_old_connection_is_used() -> None:
    async with served() as (slow, url):
        slow.may_answer.set()
        transport = http_transport()
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            await client.get(url)
            await transport.renew()
            await client.get(url)
        assert slow.connections == 2


async def test_a_server_of_this_machine_is_reached_without_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with served() as (slow, _):
        slow.may_answer.set()
        async with prefect_client() as client:
            assert await client.api_healthcheck() is None
        assert slow.target == "/api/health"


async def test_a_server_elsewhere_is_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served() as (slow, url):
        slow.may_answer.set()
        monkeypatch.setenv("http_proxy", url.removesuffix("/api"))
        far = "http://prefect.invalid:4200/api"
        with temporary_settings({PREFECT_API_URL: far}):
            async with prefect_client() as client:
                assert await client.api_healthcheck() is None
        assert slow.target == f"{far}/health"


async def test_a_worker_that_stops_waits_for_a_prefect_that_is_gone_no_longer() -> None:
    async with served() as (slow, _):
        slow.may_answer.set()
        transport = PatientTransport(http_transport())
        async with prefect_client(transport) as client:
            assert await client.api_healthcheck() is None
            gone = "http://127.0.0.1:1/api"
            asking = asyncio.create_task(client.request("GET", cast(Any, f"{gone}/ready")))
            async with asyncio.timeout(60):
                while not transport.away_for:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            transport.give_up()
            with pytest.raises(PrefectUnavailableError):
                await asking


async def test_a_prefect_that_is_gone_as_the_worker_begins_is_waited_for() -> None:
    """It has answered the start of the app, a moment ago."""
    transport = PatientTransport(http_transport(), was_there=True)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        client = prefect_client(transport)
    async with client, asyncio.timeout(60):
        asking = asyncio.create_task(client.request("GET", "/ready"))
        while not transport.away_for:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not asking.done()
        transport.give_up()
        with pytest.raises(PrefectUnavailableError):
            await asking


async def test_a_worker_that_stops_does_not_wait_for_a_prefect_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen server takes connections and requests, and answers none."""
    monkeypatch.setattr(client_module, "_LAST_PATIENCE", 0.1)
    async with served() as (slow, _):
        transport = PatientTransport(http_transport())
        async with prefect_client(transport) as client, asyncio.timeout(60):
            asking = asyncio.create_task(client.request("GET", "/ready"))
            while not slow.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            transport.give_up()
            with pytest.raises(PrefectUnavailableError, match=r"nothing within 0\.1 s"):
                await asking
            with pytest.raises(PrefectUnavailableError, match=r"nothing within 0\.1 s"):
                await client.request("GET", "/ready")


async def test_what_the_servers_database_cannot_do_for_a_moment_is_asked_again() -> None:
    async with served() as (slow, url):
        slow.may_answer.set()
        slow.faults = [500, 504, 503, 500, 502]
        transport = PatientTransport(http_transport())
        async with httpx.AsyncClient(transport=transport) as client, asyncio.timeout(60):
            assert (await client.post(url)).status_code == 200
    assert slow.asked == 6


async def test_what_the_server_can_never_answer_is_not_asked_for_ever() -> None:
    async with served() as (slow, url):
        slow.may_answer.set()
        slow.faults = [500] * 1000
        patience = timedelta(seconds=0.3)
        transport = PatientTransport(http_transport(), fault_patience=patience)
        async with httpx.AsyncClient(transport=transport) as client, asyncio.timeout(60):
            assert (await client.get(url)).status_code == 500
            before = slow.asked
            transport.give_up()
            assert (await client.get(url)).status_code == 500
    assert before > 2
    assert slow.asked == before + 1, "a worker that stops waits no longer"


@pytest.mark.parametrize("is_new", [True, False])
async def test_one_refusal_of_prefect_ends_no_worker_that_has_begun(is_new: bool) -> None:
    async def refused() -> None:
        async with served() as (slow, url):
            slow.may_answer.set()
            slow.faults = [404]
            async with httpx.AsyncClient(transport=http_transport()) as client:
                (await client.get(url)).raise_for_status()

    with pytest.raises(httpx.HTTPStatusError) if is_new else nullcontext():
        await steadily(refused, is_new=is_new)
