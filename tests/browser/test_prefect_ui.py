"""Prefect's own UI works behind the guard of our server; other pages in the same browser do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response

import athanore

pytestmark = pytest.mark.nightly

BAR = Path(athanore.__file__).parent / "api/page/web/static/bar.js"
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


def test_the_link_of_the_board_page_asks_for_the_runs_of_agents(
    tab: Page, prefect_api: str
) -> None:
    link = re.search(r"`\$\{ui\}(/runs\?[^$]+)\$", BAR.read_text())
    assert link is not None

    def asks(response: Response) -> bool:
        body = response.request.post_data or ""
        return _asks(response) and "agent-run" in body and "app:lab" in body

    with tab.expect_response(asks, timeout=60_000) as asked:
        tab.goto(f"{prefect_api.removesuffix('/api')}{link[1]}app%3Alab")
    assert asked.value.ok


def test_a_page_of_nobodys_cannot_listen(tab: Page, prefect_api: str) -> None:
    tab.goto("data:text/html,<p>A page from elsewhere</p>")
    stream = prefect_api.replace("http:", "ws:") + "/events/out"
    assert not tab.evaluate(_OPENS, stream)
