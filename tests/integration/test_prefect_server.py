"""The Prefect server that `athanore up` starts: it pauses at once, and no web page reaches it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.harness import app_name


def _queue(prefect_api: str) -> str:
    """Make a work queue and return the address of it."""
    pool = app_name("pool")
    made = [
        httpx.post(f"{prefect_api}/{path}", json=body, timeout=60).raise_for_status()
        for path, body in (
            ("work_pools/", {"name": pool, "type": "athanore"}),
            (f"work_pools/{pool}/queues", {"name": "Todo"}),
        )
    ]
    return f"{prefect_api}/work_queues/{made[-1].json()['id']}"


@pytest.mark.postgres
@pytest.mark.smoke
def test_a_work_queue_is_paused_and_resumed(prefect_api: str) -> None:
    queue = _queue(prefect_api)
    # Prefect's SQLite waits 60 s before it says that it is locked.
    for paused in (True, False):
        httpx.patch(queue, json={"is_paused": paused}, timeout=50).raise_for_status()
        assert httpx.get(queue, timeout=50).json()["is_paused"] is paused


PAGE = "http://evil.example"


@pytest.mark.parametrize(
    "headers", [{"Origin": PAGE}, {"Host": "evil.example:4200"}, {"Origin": "null"}]
)
def test_a_web_page_can_neither_read_nor_write(prefect_api: str, headers: dict[str, str]) -> None:
    name = app_name("page")
    body = b'{"name": "%s", "value": 1}' % name.encode()
    # As a page sends it without asking: a body without a type.
    written = httpx.post(f"{prefect_api}/variables/", content=body, headers=headers, timeout=50)
    assert written.status_code == 403, written.text
    assert httpx.get(f"{prefect_api}/variables/name/{name}", timeout=50).status_code == 404
    read = httpx.get(f"{prefect_api}/admin/version", headers=headers, timeout=50)
    assert read.status_code == 403
    assert httpx.get(f"{prefect_api}/admin/version", timeout=50).status_code == 200


async def _stream(prefect_api: str, **headers: str) -> None:
    url = prefect_api.replace("http:", "ws:") + "/events/out"
    async with asyncio.timeout(50), connect(url, additional_headers=headers, proxy=None):
        pass


async def test_a_web_page_cannot_listen_to_events(prefect_api: str) -> None:
    await _stream(prefect_api)
    for headers in ({"Origin": PAGE}, {"Host": "evil.example:4200"}):
        with pytest.raises(InvalidStatus, match="403"):
            await _stream(prefect_api, **headers)
