"""axe-core finds nothing serious or critical on any view, in light and dark, at a desk and a phone.

It comes from npm: `npm install axe-core`, and ATHANORE_TEST_AXE names its axe.min.js.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.api.conftest import dispatcher
from tests.api.rig import Api, served

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not {"ATHANORE_TEST_AXE", "CI"} & {*os.environ},
        reason="ATHANORE_TEST_AXE names no axe.min.js",
    ),
]

SIZES = {"desk": (1440, 900), "phone": (360, 740)}
_FINDINGS = """async () => (await axe.run()).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary))
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Api]:
    """A board with a task in several queues."""
    app = dispatcher(tmp_path_factory.mktemp("board"))
    app.board.create_task("Todo", "Fix the crash", "**Now**, see [the log](https://example.com)")
    app.board.add_comment(app.board.create_task("Todo", "Second").id, "I have *looked*.")
    with served(app, prefect_api) as api:
        yield api


def _board(page: Page) -> None:
    expect(page.locator(".column")).not_to_have_count(0)


def _task(page: Page) -> None:
    page.locator(".card-open").first.click()
    expect(page.get_by_role("button", name="Close")).to_be_visible()


def _composer(page: Page) -> None:
    page.keyboard.press("n")
    expect(page.locator("#composer-name")).to_be_visible()


def _docs(page: Page) -> None:
    page.goto(page.url.rstrip("/") + "/docs")


VIEWS: dict[str, Callable[[Page], None]] = {
    "board": _board, "task": _task, "composer": _composer, "docs": _docs,
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_serious_is_found(api: Api, page: Page, view: str, size: str, scheme: Any) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(api.url)
    _board(page)
    VIEWS[view](page)
    # By its text: the page's policy lets no other script in, and a debugger's may.
    page.evaluate(Path(os.environ["ATHANORE_TEST_AXE"]).read_text(encoding="utf-8"))
    assert page.evaluate(_FINDINGS) == []
