"""The workers on the board page: who they are, and emptying one by the keyboard."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from athanore import names
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import dispatcher
from tests.api.rig import Api, served

pytestmark = pytest.mark.nightly


async def announce(api: Api) -> None:
    """Two workers: one that lives, and one that went without a word."""
    app = api.app
    pool = names.agents_pool(app.name)
    began = app.clock.now() - timedelta(minutes=5)
    async with PrefectRunStore(api.prefect.url) as client:
        for name, host, labels in (("mac-1-ab", "mac", ("macos", "big")), ("box-7-cd", "box", ())):
            entry = WorkerEntry(name, f"{name} {pool}", host, began, labels, 4)
            if host == "mac":
                await client.send_worker_heartbeat(pool, entry.pool_name, 30)
            await fleet.announce(client, app.name, entry)


def test_a_worker_is_drained_on_the_page(tmp_path: Path, prefect_api: str, page: Page) -> None:
    with served(dispatcher(tmp_path, "fleetpage", managed=True), prefect_api) as api:
        with ThreadPoolExecutor(1) as beside:  # Playwright has an event loop in this thread
            beside.submit(asyncio.run, announce(api)).result()
        page.goto(api.url)
        page.get_by_role("button", name="1 worker").press("Enter")
        workers = page.get_by_role("dialog", name="Workers")
        expect(workers).to_contain_text("0 of 4 agents · host mac · macos, big · heard of ")
        expect(workers).to_contain_text("lost: not heard of any more, and it did not say goodbye")
        for scheme, width in (("light", 1440), ("dark", 1440), ("light", 375), ("dark", 375)):
            page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=tmp_path / f"workers-{scheme}-{width}.png")
            box = workers.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        workers.get_by_role("button", name="Drain mac-1-ab").press("Enter")
        page.get_by_role("button", name="Drain", exact=True).press("Enter")
        expect(workers).to_contain_text("takes nothing new, and is empty: asked for by the board")
        workers.get_by_role("button", name="Resume mac-1-ab").press("Enter")
        expect(workers).to_contain_text("takes tasks")
        page.keyboard.press("Escape")
        expect(workers).to_be_hidden()
