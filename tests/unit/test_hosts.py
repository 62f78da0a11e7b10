"""Who may call a server on a loopback port."""

from __future__ import annotations

from typing import Any

import pytest

from athanore.http_client.hosts import HostPolicy
from athanore.launch.prefect.prefect_guard import PrefectGuard

HERE = "127.0.0.1:4200"
POLICY = HostPolicy(
    "127.0.0.1", "https://prefect.example/ui", origins=["https://pages.example:8443/ "]
)


async def _answered(kind: str, *headers: tuple[str, str]) -> list[dict[str, Any]]:
    """What an application behind the guard sends after a request."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"type": "answered"})

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    encoded = [(name.encode(), value.encode()) for name, value in headers]
    await PrefectGuard(app, POLICY)({"type": kind, "headers": encoded}, receive, send)
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        [("host", HERE)],
        [("host", "localhost:4200"), ("origin", "http://localhost:4200")],
        [("host", "prefect.example"), ("origin", "https://prefect.example")],
        [("host", HERE), ("origin", "https://pages.example:8443")],
    ],
)
async def test_programs_and_own_pages_are_answered(
    kind: str, headers: list[tuple[str, str]]
) -> None:
    assert await _answered(kind, *headers) == [{"type": "answered"}]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "evil.example:4200")],
        [("host", HERE), ("host", HERE)],
        [("host", HERE), ("origin", "http://evil.example")],
        [("host", HERE), ("origin", "null")],
        [("host", HERE), ("origin", "http://127.0.0.1:5173")],
        [("host", "evil.example:4200"), ("origin", "http://evil.example:4200")],
    ],
)
async def test_what_a_foreign_page_sends_is_refused(headers: list[tuple[str, str]]) -> None:
    start, body = await _answered("http", *headers)
    assert start["status"] == 403
    assert b"PREFECT_" in body["body"], "it says what to set"
    (closed,) = await _answered("websocket", *headers)
    assert closed["type"] == "websocket.close"


def test_every_page_is_let_in_only_where_that_is_asked_for() -> None:
    assert HostPolicy("127.0.0.1", origins=["*"]).may_call(["http://evil.example"], HERE)
    assert not HostPolicy("127.0.0.1", origins=[""]).may_call(["http://evil.example"], HERE)
