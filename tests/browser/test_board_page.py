"""The board page, as a person uses it: a real app, real agents, a real browser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from athanore import AgentDispatcher, JsonFileAdapter
from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import bearer, served
from tests.harness import Running, app_name, prompt, running
from tests.support import wait_until

pytestmark = pytest.mark.nightly

ATTACK = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>"

# It works until a file of its task's name is there; then it does what the file says.
AGENT = """
import json, os, sys, time, urllib.request
task, base = os.environ["ATHANORE_TASK_ID"], os.environ["ATHANORE_API_URL"]
print("<b>Reading</b> the task " + task, flush=True)
while not os.path.exists(f"{sys.argv[1]}/{task}"):
    time.sleep(0.05)
word = open(f"{sys.argv[1]}/{task}").read()
print(f"Told to {word}", flush=True)
if word == "fail":
    sys.exit("1 of 12 tests failed")
request = urllib.request.Request(
    f"{base}/tasks/{task}/move", method="POST",
    data=json.dumps({"target_queue": "Review" if sys.argv[2] == "engineer" else "Done"}).encode(),
    headers={"Content-Type": "application/json",
             "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"]},
)
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
"""


@dataclass
class Shop:
    """An app at work, and its page."""

    app: Running
    page: Page
    orders: Path

    def column(self, name: str) -> Locator:
        """A column of the board."""
        return self.page.get_by_role("region", name=name, exact=False).filter(
            has=self.page.locator(".column-name").get_by_text(name, exact=True)
        )

    def card(self, queue: str, name: str) -> Locator:
        """A card in a column."""
        return self.column(queue).locator(".card").filter(has_text=name)

    def tell(self, task_id: str, word: str) -> None:
        """Tell the agent of a task how to end."""
        note = self.orders / f"{task_id}.new"
        note.write_text(word)
        note.rename(self.orders / task_id)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Running]:
    """A pipeline of two stages at work."""
    tmp_path = tmp_path_factory.mktemp("pipeline")
    (tmp_path / "agent.py").write_text(AGENT)
    names = ("Todo", "In Progress", "Review", "In Review", "Done", "Given up")
    board: dict[str, Any] = {"queues": {name: [] for name in names}}
    (tmp_path / "board.json").write_text(json.dumps(board))
    app = AgentDispatcher(
        name=app_name("page"),
        queue_backend=JsonFileAdapter(tmp_path / "board.json", user="eve"),
        command=f"{sys.executable} {tmp_path / 'agent.py'} {tmp_path}",
        poll_interval=1,
        dead_letter_queue="Given up",
        api_port=0,
    )
    app.route("Todo", args=["engineer"])(prompt)
    app.route("Review", in_progress_queue="In Review", args=["reviewer"])(prompt)
    with running(app, prefect_api) as it:
        yield it


@pytest.fixture
def shop(pipeline: Running, page: Page) -> Shop:
    """The pipeline, and a browser that looks at it."""
    page.goto(pipeline.api_url)
    adapter = pipeline.board
    assert isinstance(adapter, JsonFileAdapter)
    return Shop(pipeline, page, Path(adapter.path).parent)


def test_a_task_goes_through_the_pipeline_before_ones_eyes(shop: Shop) -> None:
    page = shop.page
    expect(page.locator("#link-text")).to_have_text("Live")
    task = shop.app.board.create_task("Todo", f"Fix it {ATTACK}", "It breaks.\nOften.")
    shop.app.board.update_task(task.id, labels=["bug"])

    at_work = shop.card("In Progress", "Fix it")
    expect(at_work).to_contain_text("At work")
    expect(at_work).to_contain_text(f"<b>Reading</b> the task {task.id}")
    expect(at_work.locator(".label")).to_have_text(["bug", "eve"])
    expect(at_work.locator("time")).to_have_text(re.compile(r"^\d+:\d\d$"))

    # By keyboard: to the card, into it, and its transcript goes on by itself.
    at_work.get_by_role("button", name="Fix it").focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("heading", level=2)).to_have_text(f"Fix it {ATTACK}")
    expect(sheet.get_by_role("heading", level=2)).to_be_focused()
    expect(sheet).to_contain_text("It breaks.")
    expect(sheet.locator("#task-state")).to_contain_text("At work")
    log = sheet.get_by_role("log")
    expect(log).to_contain_text(f"<b>Reading</b> the task {task.id}")
    shop.tell(task.id, "go on")
    expect(log).to_contain_text("Told to go on")
    expect(log.locator("summary").first).to_contain_text("Todo, attempt 1")
    expect(sheet.locator("#task-queue")).to_have_text("Done")
    expect(sheet.locator(".runs a")).to_have_count(2)

    # The stages are chapters of one transcript, which is searched and downloaded.
    expect(log.locator("summary")).to_have_count(2)
    expect(log.locator("summary").last).to_contain_text("finished")
    sheet.get_by_placeholder("Search the transcript").fill("told to")
    expect(sheet.locator("#transcript-found")).to_have_text("2 lines")
    with page.expect_download() as download:
        sheet.get_by_role("button", name="Download").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert re.findall(r"== (\w+), attempt 1", text) == ["Todo", "Review"]
    url = sheet.locator(".runs a").first.get_attribute("href") or ""
    assert "/runs/flow-run/" in url
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()

    expect(shop.card("Done", "Fix it").get_by_role("button", name="Fix it")).to_be_focused()
    assert "taken" not in page.title()
    assert page.locator(".card img, .sheet img").count() == 0


def test_a_dead_letter_is_requeued(shop: Shop) -> None:
    page = shop.page
    task = shop.app.board.create_task("Todo", "Hopeless")
    shop.tell(task.id, "fail")
    dead = shop.card("Given up", "Hopeless")
    expect(dead).to_contain_text("Given up after 1 attempt")
    expect(dead).to_contain_text("exit code 1")
    dead.locator(".card-open").click()
    expect(page.get_by_role("log")).to_contain_text("Given up, in Given up: exit code 1")
    page.get_by_role("button", name="Close").click()
    (shop.orders / task.id).unlink()
    dead.get_by_role("button", name="Requeue Hopeless").click()
    expect(page.locator("#said")).to_contain_text("starts again")
    expect(shop.card("In Progress", "Hopeless")).to_contain_text("At work")
    assert any("Requeued by the task API" in c for c in shop.app.comments(task.id))

    # And stopped, with a reason.
    shop.card("In Progress", "Hopeless").locator(".card-open").click()
    page.get_by_role("button", name="Stop the agent…").click()
    page.get_by_label("Why?").fill("no hope")
    page.get_by_role("button", name="Stop the agent", exact=True).click()
    assert shop.app.prefect.ended(task.id)["state_type"] == "CANCELLED"
    expect(page.locator("#task-comments")).to_contain_text("no hope")


def test_what_an_agent_says_leaves_the_rest_of_its_opened_task_alone(
    tmp_path: Path, prefect_api: str, page: Page
) -> None:
    with served(dispatcher(tmp_path), prefect_api) as api:
        task_id = api.board.create_task("Todo", "Fix it").id
        api.board.add_comment(task_id, "Read all of this. " * 500)
        with ThreadPoolExecutor(1) as beside:  # Playwright has an event loop in this thread
            _, token = beside.submit(api.start_run, task_id).result()
        page.goto(f"{api.url}/#task/{task_id}")
        sheet = page.get_by_role("dialog", name="Fix it")
        more = sheet.get_by_role("button", name="Show all")
        more.click()
        expect(more).to_have_count(0)
        stop = sheet.get_by_role("button", name="Stop the agent…")
        stop.focus()
        marked = stop.element_handle()
        body = {"percent": 40, "text": "Half way"}
        api.post(f"/tasks/{task_id}/progress", body, 202, headers=bearer(token))
        expect(sheet.locator("#task-state")).to_contain_text("Half way")
        expect(stop).to_be_focused()
        expect(more).to_have_count(0)
        assert marked is not None and marked.evaluate("it => it.isConnected")


def _polls_under_way(shop: Shop, queue: str) -> list[dict[str, Any]]:
    """The polls of a route that have been made and not ended."""
    prefect = shop.app.prefect
    tags = [f"app:{prefect.app}", f"route:{queue}", "poll"]
    states = ["SCHEDULED", "PENDING", "RUNNING"]
    wanted = {"tags": {"all_": tags}, "state": {"type": {"any_": states}}}
    return prefect.post("/flow_runs/filter", {"flow_runs": wanted})


def test_a_route_is_paused_and_goes_on(shop: Shop) -> None:
    page = shop.page
    todo = shop.column("Todo")
    todo.get_by_role("button", name="Pause Todo").click()
    expect(todo).to_contain_text("Paused: no agent starts")
    wait_until("a poll that had begun has ended", lambda: not _polls_under_way(shop, "Todo"))
    task = shop.app.board.create_task("Todo", "Later")
    expect(shop.card("Todo", "Later")).to_be_visible()
    shop.card("Todo", "Later").locator(".card-open").click()
    page.get_by_role("button", name="Dispatch now").click()
    expect(page.locator("#task-state")).to_contain_text("Route 'Todo' is paused.")
    page.get_by_role("button", name="Close").click()
    assert shop.app.place(task.id) == "Todo"
    todo.get_by_role("button", name="Resume Todo").click()
    expect(todo).to_contain_text("Watched every 1 s")
    expect(shop.card("In Progress", "Later")).to_contain_text("At work")
    shop.tell(task.id, "go on")
    expect(shop.card("Done", "Later")).to_be_visible()


def test_a_thousand_cards_are_filtered_and_walked_by_keyboard(
    tmp_path: Path, prefect_api: str, page: Page
) -> None:
    app = dispatcher(tmp_path)
    board = json.loads((tmp_path / "board.json").read_text())
    board["queues"]["Done"] = [
        {"id": str(i), "name": f"Task number {i}", "labels": ["odd" if i % 2 else "even"]}
        for i in range(1, 1001)
    ]
    (tmp_path / "board.json").write_text(json.dumps(board))
    with served(app, prefect_api) as api:
        page.goto(api.url)
        expect(page.locator(".card")).to_have_count(1000)
        page.evaluate("window.marked = document.querySelector('[data-task=\"500\"]')")

        page.keyboard.press("/")
        page.keyboard.type("number 77 odd")
        fitting = [i for i in range(1, 1001) if "77" in str(i) and i % 2]
        expect(page.locator(".card:not([hidden])")).to_have_count(len(fitting))
        page.keyboard.press("Escape")
        expect(page.locator(".card:not([hidden])")).to_have_count(1000)

        page.locator('[data-task="1"] .card-open').focus()
        page.keyboard.press("ArrowDown")
        expect(page.locator('[data-task="2"] .card-open')).to_be_focused()

        # A change patches the page: the other cards stay the elements that they were.
        api.board.move_task("2", "Review")
        expect(page.locator('[data-task="2"]')).to_be_visible()
        expect(page.get_by_role("list", name="Tasks in Review")).to_contain_text("Task number 2")
        expect(page.locator('[data-task="2"] .card-open')).to_be_focused()
        assert page.evaluate("window.marked === document.querySelector('[data-task=\"500\"]')")


HOLD_LOOKS = """
window.looks = {now: 0, most: 0, all: 0, held: new Promise((go) => { window.release = go; })};
const real = window.fetch;
window.fetch = async (path, ...rest) => {
  if (path !== "/board") return real(path, ...rest);
  looks.all += 1;
  looks.now += 1;
  looks.most = Math.max(looks.most, looks.now);
  try {
    await looks.held;
    return await real(path, ...rest);
  } finally {
    looks.now -= 1;
  }
};
"""


def test_there_is_one_look_at_a_time(tmp_path: Path, page: Page) -> None:
    page.add_init_script(HOLD_LOOKS)
    with served(dispatcher(tmp_path)) as api:
        page.goto(api.url)
        wait_until("a look is under way", lambda: page.evaluate("looks.now"))
        page.evaluate(
            "for (let i = 0; i < 4; i++) document.dispatchEvent(new Event('visibilitychange'))"
        )
        page.evaluate("release()")
        wait_until("the wish is met", lambda: page.evaluate("looks.all > 1 && !looks.now"))
        assert page.evaluate("looks.most") == 1


def test_a_locked_board_asks_for_the_key(
    tmp_path: Path, prefect_api: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", OPERATOR)
    with served(dispatcher(tmp_path, "guarded"), prefect_api) as api:
        page.goto(api.url)
        box = page.get_by_role("dialog", name="This board is locked")
        expect(box).to_be_visible()
        assert "Finished already" not in page.content()
        box.get_by_role("button", name="Not now").click()
        expect(page.locator("#link-text")).to_have_text("Locked: reload to unlock")
        for _ in range(2):  # the page looks on, and asks for no key by itself
            with page.expect_response("**/board"):
                expect(box).to_be_hidden()
        page.reload()
        box.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(box.get_by_role("alert")).to_have_text("This key was not accepted.")
        box.get_by_label("Key").fill(OPERATOR)
        page.keyboard.press("Enter")
        expect(page.locator(".card")).to_contain_text("Finished already")
        page.reload()
        expect(page.locator(".card")).to_contain_text("Finished already")
        page.locator(".card-open").click()
        expect(page.locator("#transcript-state")).to_have_text("Up to date")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(
    tmp_path: Path, prefect_api: str, page: Page, scheme: Any
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=scheme)
    with served(dispatcher(tmp_path), prefect_api) as api:
        page.goto(api.url)
        expect(page.locator(".column")).to_have_count(5)
        page.get_by_role("navigation", name="Queues").get_by_text("Done").click()
        expect(page.locator(".card")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.locator(".card-open").click()
        expect(page.get_by_role("button", name="Close")).to_be_in_viewport()
        ground = page.evaluate("getComputedStyle(document.querySelector('.sheet')).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(38, 36, 34)"}[scheme]


def test_without_prefect_the_board_is_shown_and_says_so(tmp_path: Path, page: Page) -> None:
    with served(dispatcher(tmp_path)) as api:
        page.goto(api.url)
        expect(page.locator(".card")).to_contain_text("Finished already")
        expect(page.locator("#notices")).to_contain_text("What agents do is not known")
        expect(page.locator("#link-text")).to_have_text("Prefect is away")
        api.board.create_task("Todo", "Added meanwhile")
        expect(page.locator(".cards").first).to_contain_text("Added meanwhile")


def test_tasks_are_written_moved_commented_and_run_again(shop: Shop) -> None:
    page = shop.page
    expect(page.locator("#link-text")).to_have_text("Live")

    # By keyboard alone: a new task, which is then moved.
    page.keyboard.press("n")
    composer = page.get_by_role("dialog", name="New task")
    expect(composer.get_by_label("Title")).to_be_focused()
    expect(composer).to_contain_text("An agent starts on it as soon as one is free.")
    composer.get_by_label("Queue").select_option("Done")
    expect(composer).to_contain_text("the task waits here for a person")
    composer.get_by_label("Title").fill(f"Written here {ATTACK}")
    composer.get_by_label("Description").fill("Line one.\nLine two.")
    page.keyboard.press("Control+Enter")
    opener = shop.card("Done", "Written here").locator(".card-open")
    expect(opener).to_be_focused()
    page.keyboard.press("m")
    box = page.get_by_role("dialog", name="Move to another queue")
    expect(box.get_by_label("To")).to_be_focused()
    box.get_by_label("To").select_option("Given up")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(shop.card("Given up", "Written here")).to_be_visible()

    # By mouse: dragged back, opened, commented on, and given to an agent again.
    shop.card("Given up", "Written here").drag_to(shop.column("Done"))
    card = shop.card("Done", "Written here")
    expect(card).to_be_visible()
    card.locator(".card-open").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Your comment").fill("Mind the tests.")
    page.keyboard.press("Escape")
    card.locator(".card-open").click()
    expect(sheet.get_by_label("Your comment")).to_have_value("Mind the tests.")
    sheet.get_by_role("button", name="Comment").click()
    expect(sheet.locator("#task-comments")).to_contain_text("Mind the tests.")
    expect(sheet.get_by_label("Your comment")).to_have_value("")
    sheet.get_by_role("button", name="Run again…").click()
    again = page.get_by_role("dialog", name="Run again?")
    again.get_by_label("Queue").select_option("Review")
    again.get_by_role("button", name="Run again").click()
    page.get_by_role("button", name="Close").click()
    at_work = shop.card("In Review", "Written here")
    expect(at_work).to_contain_text("At work")

    # An agent that would be stopped by a move is asked about first.
    at_work.drag_to(shop.column("Done"))
    sure = page.get_by_role("dialog", name="Move it to Done?")
    expect(sure).to_contain_text("is stopped")
    sure.get_by_role("button", name="Let it go on").click()
    expect(at_work).to_be_visible()
    [task] = shop.app.board.get_ready_tasks(["In Review"])
    shop.tell(task.id, "go on")
    expect(shop.card("Done", "Written here")).to_be_visible()


def test_a_task_that_the_board_refuses_keeps_what_was_typed(tmp_path: Path, page: Page) -> None:
    with served(dispatcher(tmp_path)) as api:
        page.goto(api.url)
        page.get_by_role("button", name="New task in Done").click()
        composer = page.get_by_role("dialog", name="New task")
        expect(composer.get_by_label("Queue")).to_have_value("Done")
        composer.get_by_label("Title").fill("Not yet")
        page.evaluate("document.querySelector('#composer-queue option:checked').value = 'Nowhere'")
        composer.get_by_role("button", name="Create").click()
        expect(composer.get_by_role("alert")).to_contain_text("Nowhere")
        expect(composer.get_by_label("Title")).to_have_value("Not yet")
        composer.get_by_label("Queue").select_option("Todo")
        composer.get_by_role("button", name="Create").click()
        expect(page.get_by_role("list", name="Tasks in Todo")).to_contain_text("Not yet")
