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

from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import Api, served
from tests.browser.test_inbox import asked, waits_for_approval

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
        asked(api, "Paint the shed")
        asked(api, "Drop the table", choices=["Drop it", "Keep it"])
        asked(api, "Price it", answer_schema={"type": "object", "required": ["price"]})
        waits_for_approval(api, "Deploy it")
        waits_for_approval(api, "Tidy up")
        yield api


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Api]:
    """A board that asks for a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANORE_API_AUTH", "token")
        patch.setenv("ATHANORE_API_KEY", OPERATOR)
        app = dispatcher(tmp_path_factory.mktemp("locked"), "guarded")
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


def _inbox(page: Page) -> None:
    expect(page.get_by_role("button", name="5 questions")).to_be_visible()
    page.keyboard.press("i")
    expect(page.locator("#inbox-list > li")).to_have_count(5)


def _bulk(page: Page) -> None:
    _inbox(page)
    page.get_by_role("button", name="Approve all 2").click()
    expect(page.get_by_role("dialog", name="Approve 2 tasks?")).to_be_visible()


def _reason(page: Page) -> None:
    page.locator(".card-open").filter(has_text="Paint the shed").click()
    page.get_by_role("button", name="Stop the agent").click()
    expect(page.get_by_label("Why? (may be left empty)")).to_be_focused()


def _docs(page: Page) -> None:
    page.goto(page.url.rstrip("/") + "/docs")


VIEWS: dict[str, Callable[[Page], None]] = {
    "board": _board, "task": _task, "composer": _composer, "docs": _docs, "inbox": _inbox,
    "bulk": _bulk, "reason": _reason,
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_serious_is_found(api: Api, page: Page, view: str, size: str, scheme: Any) -> None:
    _look(page, api.url, size, scheme)
    _board(page)
    VIEWS[view](page)
    assert _findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_serious_is_found_where_a_key_is_asked_for(
    locked: Api, page: Page, size: str, scheme: Any
) -> None:
    _look(page, locked.url, size, scheme)
    box = page.get_by_role("dialog", name="This board is locked")
    expect(box.get_by_label("Key")).to_be_focused()
    assert _findings(page) == []
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(box.get_by_role("alert")).to_have_text("This key was not accepted.")
    assert _findings(page) == []
    page.keyboard.type(OPERATOR)
    page.keyboard.press("Enter")
    _board(page)


def _look(page: Page, url: str, size: str, scheme: Any) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(url)


def _findings(page: Page) -> list[str]:
    # By its text: the page's policy lets no other script in, and a debugger's may.
    page.evaluate(Path(os.environ["ATHANORE_TEST_AXE"]).read_text(encoding="utf-8"))
    return page.evaluate(_FINDINGS)
