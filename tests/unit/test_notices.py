"""What people are told: one message for what comes close together, signed, once where it can be."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, override

import pytest
from prefect.blocks.abstract import NotificationBlock
from pydantic import SecretStr

from athanore import AgentDispatcher, ConfigurationError, MemoryAdapter
from athanore.queue_adapters.gitlab.webhook import Deliveries
from athanore.runtime.apps import App
from athanore.runtime.secrets.environment import is_secret
from athanore.services.people import notices
from athanore.services.people.notices import Message, WebhookChannel
from athanore.worker.duties import notifying
from athanore.worker.duties.notifying import Delivery
from tests.harness import app_name
from tests.memory_store import MemoryRunStore

DEAD = "athanore.agent.dead-lettered"
PAUSED = "athanore.route.paused"
SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()


def _app(**options: Any) -> App:
    board = MemoryAdapter(["Todo", "In Progress"])
    dispatcher = AgentDispatcher("true", name=app_name("tell"), queue_backend=board, **options)
    return App("run.py:dispatcher", dispatcher)


class Server:
    """Takes deliveries, and answers as it is told to."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                return

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"


@pytest.fixture
def server() -> Generator[Server]:
    found = Server()
    thread = threading.Thread(target=found.http.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.http.shutdown()
    thread.join()
    found.http.server_close()


async def test_a_delivery_is_signed_as_standard_webhooks_has_it(server: Server) -> None:
    app = _app()
    await WebhookChannel(server.url, SECRET).send(notices.test_message(app, "ada"))
    ((headers, body),) = server.got
    # The adapter of GitLab checks such signatures, and refuses what has none.
    assert Deliveries("group/project").read(headers, body, SECRET) is None
    said = json.loads(body)
    assert said["type"] == "athanore.test"
    assert said["data"]["text"].startswith("ada has asked")
    assert headers["webhook-id"].startswith("msg_")


async def test_a_refused_delivery_is_an_error_that_does_not_tell_the_address(
    server: Server,
) -> None:
    server.status = 500
    channel = WebhookChannel(f"{server.url}?token=abcdefgh", SECRET)
    with pytest.raises(Exception, match="it answered 500"):
        await channel.send(notices.test_message(_app(), "ada"))
    assert "abcdefgh" not in f"{channel.name} {channel!r}"


@pytest.mark.parametrize("wrong", ["slack-webhook/team", ["slack-webhook"], ["a/b/c"], [3]])
def test_what_is_no_block_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="notify="):
        _app(notify=wrong)


def test_a_webhook_without_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_NOTIFY_WEBHOOK_URL", "http://127.0.0.1:1/hook")
    with pytest.raises(ConfigurationError, match="ATHANORE_NOTIFY_WEBHOOK_SECRET"):
        notices.channels(_app())


class Pager:
    """A notification block, as users write them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notify(self, body: str, subject: str | None = None) -> None:
        self.told.append(body)


def test_blocks_of_one_class_are_told_apart() -> None:
    """Prefect keeps by the name how far a channel came, so the first one's stays as it was."""
    first, second = Pager(), Pager()
    app = _app(notify=[first, "slack-webhook/team", second, first, "slack-webhook/team"])
    assert [c.name for c in notices.channels(app)] == ["Pager", "slack-webhook/team", "Pager 2"]


class Bell(NotificationBlock):
    """A notification block with fields of Prefect's kind."""

    url: SecretStr

    @override
    async def notify(self, body: str, subject: str | None = None) -> None:
        return


def test_the_place_of_a_block_is_that_of_its_fields_and_not_of_its_position() -> None:
    one, two, three = (Bell(url=SecretStr(f"https://bell.example/{n}")) for n in "123")
    before = notices.channels(_app(notify=[one, two, three]))
    assert [c.name for c in before] == ["Bell", "Bell 2", "Bell 3"]
    assert before[0].key == "Bell"
    assert len({c.key for c in before}) == 3
    after = notices.channels(_app(notify=[two, Bell(url=three.url)]))
    assert [c.name for c in after] == ["Bell", "Bell 2"]
    assert after[1].key == before[2].key
    assert after[0].digest == before[1].digest != before[0].digest
    assert "example" not in "".join(c.key for c in before)


@pytest.mark.parametrize("name", ["URL", "SECRET"])
def test_agents_do_not_inherit_the_webhook(name: str) -> None:
    assert is_secret(f"ATHANORE_NOTIFY_WEBHOOK_{name}")


class Site(MemoryRunStore):
    """Prefect in memory, with a history of events, and a channel that keeps what it is sent."""

    name = key = "the channel"
    digest = ""

    def __init__(self) -> None:
        super().__init__()
        self.app = _app()
        self.now = datetime(2026, 11, 26, 12, tzinfo=UTC)
        self.heard: list[dict[str, Any]] = []
        self.sent: list[Message] = []
        self.away = False
        self.refused = ""
        self.app.clock.now = lambda: self.now  # pyright: ignore[reportAttributeAccessIssue]

    def happens(self, event: str, number: int, reason: str = "exit code 2") -> None:
        resource = {"prefect.resource.name": f"Task {number}", "athanore.task-id": str(number)}
        if event != DEAD:
            resource = {"prefect.resource.name": "Todo"}
        self.heard.append(
            {
                "id": f"00000000-0000-0000-0000-{number:012}",
                "event": event,
                "occurred": self.now.isoformat(),
                "resource": resource,
                "payload": {"reason": reason},
            }
        )

    async def request(self, method: str, path: str, **given: Any) -> Any:
        since = datetime.fromisoformat(given["json"]["filter"]["occurred"]["since"])
        found = [e for e in self.heard if datetime.fromisoformat(e["occurred"]) >= since][:1000]

        class Answer:
            @staticmethod
            def json() -> Any:
                return {"events": found, "next_page": None}

        assert (method, path) == ("POST", "/events/filter")
        return Answer()

    async def send(self, message: Message) -> None:
        if self.away:
            raise OSError("away")
        if message.event == self.refused:
            raise OSError("status 400")
        self.sent.append(message)

    def delivery(self, worker: str = "one") -> Delivery:
        client: Any = self
        return Delivery(client, self.app, self, worker)

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def test_a_flood_is_one_message_with_a_number() -> None:
    site = Site()
    delivery = site.delivery()
    site.happens(DEAD, 1)
    await delivery.look()
    assert site.sent == [], "what happened before anybody was to be told is not told"
    for number in range(2, 102):
        site.passes(0.01)
        site.happens(DEAD, number)
    site.happens(PAUSED, 200, "Route 'Todo' is paused: token=abc.")
    await delivery.look()
    dead, paused = site.sent
    assert dead.subject.endswith("100 tasks were given up")
    assert dead.count == 100
    assert dead.body.endswith("and 95 more")
    assert "Route 'Todo' is paused" in paused.body
    site.passes(5)
    site.happens(DEAD, 300)
    site.happens(DEAD, 301)
    await delivery.look()
    assert len(site.sent) == 2, "within a minute what follows is gathered"
    site.passes(60)
    await delivery.look()
    assert [m.count for m in site.sent] == [100, 1, 2]
    for _ in range(5):
        site.passes(60)
        await delivery.look()
    assert len(site.sent) == 3


async def test_a_question_is_told_with_its_words() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    site.happens("athanore.agent.asked", 1)
    site.heard[-1]["payload"] = {"question_id": "q1", "question": "Which database?"}
    await delivery.look()
    assert site.sent[0].body.endswith("Which database?")
    assert site.sent[0].subject.endswith(": question: Todo")


def question(site: Site, kind: str, number: int, question_id: str, **told: str) -> None:
    """A question is asked, or has an end."""
    site.happens(f"athanore.agent.{kind}", number)
    site.heard[-1]["payload"] = {"question_id": question_id, **told}
    site.heard[-1]["resource"] = {"prefect.resource.name": "Fix it", "athanore.task-id": "7"}


async def test_who_was_told_of_a_question_is_told_that_nobody_has_to_answer_it() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    for number in range(3):
        question(site, "asked", number, f"q{number}", question=f"Which one, {number}?")
    await delivery.look()
    site.passes(5)
    question(site, "answered", 3, "q0", answer="red", by="eve")
    question(site, "expired", 4, "q1", reason="nobody has answered in time")
    question(site, "withdrawn", 5, "q2", reason="the task was moved to 'Done'")
    await delivery.look()
    assert [(m.subject.partition(": ")[2], m.body) for m in site.sent[1:]] == [
        ("question answered: Fix it", "Fix it (7): eve: red"),
        ("question expired: Fix it", "Fix it (7): nobody has answered in time"),
        ("question withdrawn: Fix it", "Fix it (7): the task was moved to 'Done'"),
    ]


async def test_a_question_that_has_ended_before_it_was_told_is_not_told() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    question(site, "asked", 1, "q1", question="Which one?")
    await delivery.look()
    site.passes(5)  # within the minute in which questions are gathered
    question(site, "asked", 2, "q2", question="Which other one?")
    question(site, "answered", 3, "q2", answer="blue", by="bob")
    for _ in range(3):
        await delivery.look()
        site.passes(61)
    await site.delivery("another").look()
    assert [m.event for m in site.sent] == ["athanore.agent.asked"]


async def test_what_an_agent_is_done_with_is_told_with_where_its_task_is() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    site.happens("athanore.agent.finished", 1)
    site.heard[-1]["payload"] = {"message": "Attempt 1 succeeded; the task is in 'Done'."}
    site.heard[-1]["resource"]["athanore.task-id"] = "1"
    await delivery.look()
    (told,) = site.sent
    assert told.subject.endswith(": agent done: Todo")
    assert told.body == "Todo (1): Attempt 1 succeeded; the task is in 'Done'."
    assert told.task_ids == ("1",)


async def test_what_was_not_delivered_is_delivered_by_whoever_comes_next() -> None:
    site = Site()
    first, second = site.delivery("first"), site.delivery("second")
    await first.look()
    site.passes(5)
    site.happens(DEAD, 1)
    site.away = True
    with pytest.raises(OSError, match="away"):
        await first.look()
    site.away = False
    await second.look()
    assert site.sent == [], "the first one is at it"
    site.passes(90)
    await second.look()
    assert [m.task_ids for m in site.sent] == [("1",)]
    await first.look()
    site.passes(90)
    await first.look()
    assert len(site.sent) == 1


async def test_a_kind_that_the_receiver_refuses_keeps_no_other_from_it() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(5)
    site.refused = DEAD
    site.happens(DEAD, 1)
    site.happens(PAUSED, 2, "Route 'Todo' is paused.")
    for _ in range(2):
        with pytest.raises(OSError, match="status 400"):
            await delivery.look()
        await delivery.look()  # it is tried again later, and nothing else waits for that
        assert [m.event for m in site.sent] == [PAUSED]
        site.passes(600)
    site.refused = ""
    await delivery.look()
    assert [m.event for m in site.sent] == [PAUSED, DEAD]


async def test_a_block_that_becomes_the_first_is_not_told_what_the_former_one_missed() -> None:
    site = Site()
    site.digest = "dead"
    site.away = True
    await site.delivery().look()
    site.passes(5)
    site.happens(DEAD, 1)
    with pytest.raises(OSError, match="away"):
        await site.delivery().look()
    site.digest, site.away = "good", False
    site.passes(5)
    await site.delivery().look()
    assert site.sent == []
    site.passes(5)
    site.happens(DEAD, 2)
    await site.delivery().look()
    assert [m.task_ids for m in site.sent] == [("2",)]


async def test_what_an_earlier_version_kept_of_a_channel_goes_on() -> None:
    site = Site()
    await site.delivery().look()
    site.passes(5)
    site.happens(DEAD, 1)
    (kept,) = site.kept.values()
    del kept.value["block"]
    site.digest = "good"
    await site.delivery().look()
    assert [m.task_ids for m in site.sent] == [("1",)]


async def test_what_a_newer_version_tells_besides_is_told_from_then_on() -> None:
    site = Site()
    await site.delivery().look()
    (kept,) = site.kept.values()
    del kept.value["kinds"], kept.value["later"]
    site.passes(5)
    site.happens("athanore.agent.answered", 1)
    site.happens(DEAD, 2)
    site.passes(5)
    await site.delivery().look()
    site.passes(5)
    site.happens("athanore.agent.answered", 3)
    await site.delivery().look()
    assert [m.task_ids or m.event for m in site.sent] == [("2",), "athanore.agent.answered"]
    assert site.sent[1].id.endswith("3")


@pytest.mark.parametrize("apart", [0.01, 1])
async def test_what_was_told_of_a_flood_is_not_told_again_while_another_kind_is_held(
    apart: float,
) -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    site.happens(PAUSED, 1)
    await delivery.look()
    site.passes(1)
    for number in range(1000, 1251):
        site.passes(apart)
        site.happens(DEAD, number)
    site.happens(PAUSED, 2000)
    for _ in range(4):
        await delivery.look()
        site.passes(5)
    assert sum(m.count for m in site.sent if m.event == DEAD) == 251
    for _ in range(20):
        site.passes(20)
        await delivery.look()
    assert sum(m.count for m in site.sent) == 253


async def test_kinds_that_are_held_in_turn_keep_nothing_from_being_told() -> None:
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    for number in range(1, 1500):
        site.passes(15)
        site.happens(DEAD if number % 2 else PAUSED, number, f"reason {number}")
        await delivery.look()
        (kept,) = site.kept.values()
        assert len(json.dumps(kept.value)) < 4900, "Prefect keeps no longer values than 5,000"
    site.passes(61)
    await delivery.look()
    assert sum(m.count for m in site.sent) == 1499


async def test_whom_the_reloaded_code_tells_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "LOOK_EVERY", 0.01)
    site = Site()
    client: Any = site
    first, second = Pager(), Pager()
    site.app.dispatcher.notify = (first,)
    work = asyncio.create_task(notifying.keep_delivering(client, site.app, "one"))
    numbers = itertools.count(1)

    async def hears(pager: Pager) -> None:
        async with asyncio.timeout(30):
            while not pager.told:
                site.passes(61)
                site.happens(DEAD, next(numbers))
                await asyncio.sleep(0.05)

    await hears(first)
    site.app.dispatcher.notify = (second,)
    await hears(second)
    first.told.clear()
    second.told.clear()
    await hears(second)
    assert not first.told
    work.cancel()
    await asyncio.wait([work])


async def test_whom_newer_code_tells_otherwise_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a process delivers next does not wait until what it delivered before counts as lost."""
    monkeypatch.setattr(notifying, "LOOK_EVERY", 0.01)
    site = Site()
    client: Any = site
    first, second = Pager(), Pager()
    site.app.dispatcher.notify = (first,)
    numbers = itertools.count(1)

    async def hears(pager: Pager) -> None:
        before = site.now
        async with asyncio.timeout(30):
            while not pager.told and site.now - before < timedelta(seconds=30):
                site.passes(0.1)
                site.happens(DEAD, next(numbers))
                await asyncio.sleep(0.05)
        assert pager.told

    def begins() -> asyncio.Task[None]:
        return asyncio.create_task(notifying.keep_delivering(client, site.app, "one"))

    work = begins()
    await hears(first)
    site.app.dispatcher.notify = (second,)
    await hears(second)
    work.cancel()
    await asyncio.wait([work])
    second.told.clear()
    work = begins()
    await hears(second)
    work.cancel()
    await asyncio.wait([work])


async def test_secrets_are_replaced_and_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_API_KEY", "key-of-the-operators")
    site = Site()
    delivery = site.delivery()
    await delivery.look()
    site.passes(1)
    site.happens(DEAD, 1, "key-of-the-operators " + "long " * 1000)
    await delivery.look()
    (message,) = site.sent
    assert "operators" not in message.body
    assert len(message.body) < 700
