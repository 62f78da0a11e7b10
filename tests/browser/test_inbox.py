"""The inbox of the board page: what agents ask is answered there, by mouse and by keyboard."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import dispatcher
from tests.api.rig import Api, bearer, served
from tests.support import wait_until

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


def waits_for_approval(api: Api, name: str) -> str:
    """A task that an operator has to approve; returns its id."""
    task_id = api.board.create_task("Todo", name).id

    async def keep(client: PrefectRunStore) -> None:
        gate = Question(
            id=uuid4().hex[:10], run_id=UUID(run_id), task_id=task_id, text=f"May {name} start?",
            asked_at=datetime.now(UTC), choices=("yes", "no"), is_approval=True,
        )  # fmt: skip
        await questions.keep(client, gate)
        await questions.list_it(client, api.app.name, gate)

    with ThreadPoolExecutor(1) as beside:
        run_id, _ = beside.submit(api.start_run, task_id).result()
        beside.submit(api.with_prefect, keep).result()
    return task_id


def tab_to(page: Page, control: Locator) -> None:
    """Reach a control by the Tab key, which has to be seen when it is."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if control.evaluate("it => it === document.activeElement"):
            assert control.evaluate("it => it.matches(':focus-visible')")
            return
    pytest.fail(f"Tab does not reach {control}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_approvals_answers_and_reasons_by_keyboard_alone(
    tmp_path: Path, prefect_api: str, page: Page, scheme: Any, width: int
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 780})
    with served(dispatcher(tmp_path, "inbox", managed=True), prefect_api) as api:
        asked(api, "Paint the shed")
        refused = waits_for_approval(api, "Deploy it")
        approved = [waits_for_approval(api, name) for name in ("Tidy up", "Write it down")]
        page.goto(api.url)
        expect(page.get_by_role("button", name="4 questions")).to_be_visible()
        page.keyboard.press("i")
        inbox = page.get_by_role("dialog", name="Questions of agents")
        entry = inbox.get_by_role("listitem")
        expect(entry).to_have_count(4)
        tab_to(page, inbox.get_by_label("Your answer"))
        page.keyboard.type("Red")
        tab_to(page, inbox.get_by_role("button", name="Answer"))
        page.keyboard.press("Enter")
        expect(entry).to_have_count(3)
        gate = entry.filter(has_text="May Deploy it start?")
        tab_to(page, gate.get_by_label("If not, why (optional)"))
        page.keyboard.type("not this week")
        page.screenshot(path=tmp_path / f"inbox-{scheme}-{width}.png")
        tab_to(page, gate.get_by_role("button", name="Reject"))
        page.keyboard.press("Enter")
        expect(entry).to_have_count(2)
        tab_to(page, inbox.get_by_role("button", name="Approve all 2"))
        page.keyboard.press("Enter")
        sure = page.get_by_role("dialog", name="Approve 2 tasks?")
        expect(sure).to_contain_text("“Tidy up”, “Write it down”")
        tab_to(page, sure.get_by_role("button", name="Approve all 2"))
        page.keyboard.press("Enter")
        expect(inbox).to_contain_text("No agent waits for an answer.")
        page.keyboard.press("Escape")
        expect(inbox).to_be_hidden()
        said = {t: said_of(api, t) for t in (refused, *approved)}
        assert said == {refused: ["not this week"], **{t: ["yes"] for t in approved}}

        # And the reason for which a run is cancelled.
        tab_to(page, page.locator(".card-open").filter(has_text="Tidy up"))
        page.keyboard.press("Enter")
        sheet = page.get_by_role("dialog", name="Tidy up")
        tab_to(page, sheet.get_by_role("button", name="Stop the agent"))
        page.keyboard.press("Enter")
        why = page.get_by_label("Why? (may be left empty)")
        expect(why).to_be_focused()
        page.keyboard.type("no more wanted")
        page.keyboard.press("Enter")
        expect(why).to_be_hidden()
        page.keyboard.press("Escape")
        expect(sheet).to_be_hidden()


def said_of(api: Api, task_id: str) -> list[str]:
    """What was answered to the approvals of a task."""
    found: list[Question] = []

    async def read(client: PrefectRunStore) -> None:
        run_id = UUID(api.prefect.run(task_id)["id"])
        found.extend(await questions.of_run(client, run_id))

    with ThreadPoolExecutor(1) as beside:
        beside.submit(api.with_prefect, read).result()
    endings = [q.ending for q in found if q.ending is not None]
    return [str(e.reason or e.answer) for e in endings]


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

        def texts() -> list[str]:
            tasks = api.board.get_ready_tasks(["Todo", "In Progress"])
            return [c.text for t in tasks for c in api.board.get_task(t.id).comments]

        for question, said in ((first, "Red, please"), (second, "Keep it")):
            answer = f"Answer to question {question} by the board page: {said}"
            wait_until(f"the card says {said!r}", lambda text=answer: text in texts())


def test_what_is_asked_meanwhile_takes_the_focus_from_nobody(
    tmp_path: Path, prefect_api: str, page: Page
) -> None:
    with served(dispatcher(tmp_path, "inbox", managed=True), prefect_api) as api:
        asked(api, "Paint the shed")
        page.goto(api.url)
        expect(page.get_by_role("button", name="1 question")).to_be_visible()
        page.keyboard.press("i")
        inbox = page.get_by_role("dialog", name="Questions of agents")
        field = inbox.get_by_label("Your answer")
        tab_to(page, field)
        page.keyboard.type("Re")
        asked(api, "Paint the fence")
        expect(inbox.get_by_role("listitem")).to_have_count(2)
        page.keyboard.type("d")
        expect(field.first).to_have_value("Red")
        expect(field.first).to_be_focused()
