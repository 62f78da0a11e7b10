"""The inbox of the board page: what agents ask is answered there, by mouse and by keyboard."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.api.conftest import dispatcher
from tests.api.rig import Api, bearer, served

pytestmark = pytest.mark.nightly


def asked(api: Api, name: str, **more: object) -> str:
    """A task whose agent asks something; returns the question's id."""
    task_id = api.board.create_task("Todo", name).id
    # Playwright has an event loop in this thread.
    with ThreadPoolExecutor(1) as beside:
        _, token = beside.submit(api.start_run, task_id).result()
    body = {"question": f"What about <b>{name}</b>?\nTell me.", **more}
    made = api.post(f"/tasks/{task_id}/questions", body, 201, headers=bearer(token))
    return str(made["id"])


def test_questions_are_answered_on_the_page(tmp_path: Path, prefect_api: str, page: Page) -> None:
    with served(dispatcher(tmp_path, "inbox", managed=True), prefect_api) as api:
        first = asked(api, "Paint the shed")
        second = asked(api, "Drop the table", choices=["Drop it", "Keep it"])
        page.goto(api.url)
        opener = page.get_by_role("button", name="2 questions")
        expect(opener).to_be_visible()
        page.keyboard.press("i")
        inbox = page.get_by_role("dialog", name="Questions of agents")
        expect(inbox).to_contain_text("What about <b>Paint the shed</b>?")
        for scheme, width in (("light", 1440), ("dark", 1440), ("light", 375), ("dark", 375)):
            page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=tmp_path / f"inbox-{scheme}-{width}.png")
            box = inbox.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        field = inbox.get_by_label("Your answer")
        field.focus()
        page.keyboard.type("Red, please")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(inbox).not_to_contain_text("Paint the shed")
        inbox.get_by_role("button", name="Keep it").click()
        expect(inbox).to_contain_text("No agent waits for an answer.")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="questions")).to_be_hidden()
        texts = [c.text for q in ("Todo", "In Progress") for t in api.board.get_ready_tasks([q])
                 for c in api.board.get_task(t.id).comments]  # fmt: skip
        assert f"Answer to question {first} by the board page: Red, please" in texts
        assert f"Answer to question {second} by the board page: Keep it" in texts
