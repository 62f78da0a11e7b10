"""Clients of one account share its limits: a server that refuses one is asked by none of them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override

import httpx
import pytest

from athanore.errors import BoardUnavailableError
from athanore.http_client.client import HttpClient, Limited
from athanore.models import Quota

pytestmark = pytest.mark.smoke


class Refusing(ThreadingHTTPServer):
    """A server that refuses everything, and counts what it is asked."""

    asked = 0


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Refusing)
        self.server.asked += 1
        self.send_response(429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Refusing]:
    with Refusing(("127.0.0.1", 0), _Handler) as it:
        thread = threading.Thread(target=it.serve_forever)
        thread.start()
        yield it
        it.shutdown()
        thread.join()


def refusal(response: httpx.Response) -> Limited | None:
    return Limited(timedelta(minutes=5)) if response.status_code == 429 else None


def told(_: httpx.Response) -> list[Quota]:
    return [Quota("core", 5000, 7, datetime.now(UTC) + timedelta(hours=1))]


@contextmanager
def client(server: Refusing, token: str = "", account: str = "") -> Generator[HttpClient]:
    it = HttpClient(
        "Tracker",
        f"http://127.0.0.1:{server.server_port}/",
        {"Authorization": f"Bearer {token}"} if token else {},
        timeout=timedelta(seconds=60),
        retry_delays=(),
        limited=refusal,
        quota=told,
        account=account,
    )
    try:
        yield it
    finally:
        it.close()


def is_refused(it: HttpClient) -> bool:
    try:
        it.send("GET", "tasks")
    except BoardUnavailableError as exc:
        return exc.retry_after is not None
    return False


@pytest.mark.parametrize("by", ["token", "account"])
def test_a_second_client_of_an_account_waits_for_the_limit_of_the_first(
    server: Refusing, by: str
) -> None:
    same, other = {by: "one"}, {by: "two"}
    with client(server, **same) as board, client(server, **same) as forge:
        assert is_refused(board) and is_refused(forge)
        assert server.asked == 1
        assert [quota.remaining for quota in forge.quotas.known()] == [7]
        with client(server, **other) as another:
            assert is_refused(another)
        assert server.asked == 2


def test_clients_without_a_credential_share_nothing(server: Refusing) -> None:
    with client(server) as one, client(server) as other:
        assert is_refused(one) and is_refused(other)
    assert server.asked == 2


def test_an_account_that_nobody_uses_any_more_is_forgotten(server: Refusing) -> None:
    for _ in range(2):
        with client(server, "one") as it:
            assert is_refused(it)
        del it
        gc.collect()
    assert server.asked == 2
