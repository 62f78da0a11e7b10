"""Prefect's own UI works behind the guard of our server; other pages in the same browser do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Response

pytestmark = pytest.mark.nightly

_OPENS = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => done(true);
    socket.onerror = () => done(false);
})"""


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A page without a look at its console: Prefect's UI has its own complaints."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def _asks(response: Response) -> bool:
    return response.request.method == "POST" and "/api/" in response.url


@pytest.mark.parametrize("path", ["dashboard", "runs"])
def test_prefects_ui_gets_its_answers(tab: Page, prefect_api: str, path: str) -> None:
    refused: list[str] = []
    tab.on("response", lambda r: refused.append(r.url) if r.status == 403 else None)
    with tab.expect_response(_asks, timeout=60_000) as asked:
        tab.goto(f"{prefect_api.removesuffix('/api')}/{path}")
    assert asked.value.ok, asked.value.url
    tab.wait_for_load_state("networkidle")
    assert refused == []
    stream = prefect_api.replace("http:", "ws:") + "/events/out"
    assert tab.evaluate(_OPENS, stream), "its own page may listen to events"


def test_a_page_of_nobodys_cannot_listen(tab: Page, prefect_api: str) -> None:
    tab.goto("data:text/html,<p>A page from elsewhere</p>")
    stream = prefect_api.replace("http:", "ws:") + "/events/out"
    assert not tab.evaluate(_OPENS, stream)
