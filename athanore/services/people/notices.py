"""Telling people, and programs of theirs, what they would want to know of an app.

What is told are events that Prefect keeps: questions of agents, what they are done with, tasks that
were given up, routes that paused themselves (for failures, a budget, a provider's limit), workers
that were lost or came back. So nothing is forgotten when a worker dies: whoever delivers next reads
from where the last one came to. What comes close together is one message with a number.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import inspect
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import httpx
from prefect.blocks.core import Block

from athanore import names
from athanore.errors import ConfigurationError
from athanore.models import EventKind
from athanore.runs.events.shapes import PREFIX, ROUTE_PAUSED, WORKER_BACK, WORKER_LOST
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.settings import NO_SECRET
from athanore.texts import cut

_ASKED = f"{PREFIX}{EventKind.ASKED}"
_ENDS_OF_QUESTIONS: Mapping[str, tuple[str, str]] = {
    f"{PREFIX}{EventKind.ANSWERED}": ("question answered", "questions are answered"),
    f"{PREFIX}{EventKind.EXPIRED}": ("question expired", "questions have expired"),
    f"{PREFIX}{EventKind.WITHDRAWN}": ("question withdrawn", "questions were withdrawn"),
}

TOLD: Mapping[str, tuple[str, str]] = {
    f"{PREFIX}{EventKind.DEAD_LETTERED}": ("task given up", "tasks were given up"),
    _ASKED: ("question", "questions are open"),
    **_ENDS_OF_QUESTIONS,
    f"{PREFIX}{EventKind.FINISHED}": ("agent done", "agents are done"),
    ROUTE_PAUSED: ("route paused", "routes are paused"),
    WORKER_LOST: ("worker lost", "workers were lost"),
    WORKER_BACK: ("worker back", "workers are back"),
}
"""The events that are told: what one is called, and several. Others may be added here."""

TOLD_AT_FIRST = frozenset(TOLD) - frozenset(_ENDS_OF_QUESTIONS)
"""What the versions told that did not keep which kinds they tell."""

TEST = "athanore.test"
"""The event of a message that says only that messages arrive."""

_WORDS = ("reason", "question", "message")
"""Which words of an event are told; the first that it has."""

_SIGNING = "whsec_"
_SHOWN = 5
_LONGEST = 500
_PAGE = 50
_PAGES = 20
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Happened:
    """One event that is told."""

    id: str
    event: str
    at: datetime
    subject: str
    task_id: str | None
    text: str
    question_id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: of one event, or of several of one kind.

    Attributes:
        id: the same for each delivery of the message, so that a repeat is known.
        event: the kind.
        count: how many events it tells of.
    """

    id: str
    event: str
    at: datetime
    app: str
    subject: str
    body: str
    count: int = 1
    task_ids: tuple[str, ...] = ()

    def as_json(self) -> bytes:
        """The body of a webhook's delivery."""
        data = {
            "app": self.app,
            "subject": self.subject,
            "text": self.body,
            "count": self.count,
            "task_ids": self.task_ids,
        }
        said = {"type": self.event, "timestamp": self.at.isoformat(), "data": data}
        return json.dumps(said, ensure_ascii=False).encode()


class Channel(Protocol):
    """A way to people or programs."""

    @property
    def name(self) -> str:
        """Names it in logs; without credentials."""
        ...

    @property
    def key(self) -> str:
        """Prefect keeps under it how far the channel came."""
        ...

    @property
    def digest(self) -> str:
        """Tells blocks of one class apart by what they are made of; "" of other channels."""
        ...

    async def send(self, message: Message) -> None:
        """Deliver a message. Raises whatever keeps it from being delivered."""
        ...


@dataclass(frozen=True, slots=True)
class BlockChannel:
    """A notification block of Prefect: one by its name, as `slack-webhook/team`, or a block.

    Attributes:
        number: which one it is of the blocks of its class.
    """

    block: object
    number: int = 1

    @property
    def name(self) -> str:
        """The name of the block, or its class, with a number from the second one on."""
        if isinstance(self.block, str):
            return self.block
        kind = type(self.block).__name__
        return kind if self.number == 1 else f"{kind} {self.number}"

    @property
    def key(self) -> str:
        """The class of the first block; of others also a digest, which stays when one moves up."""
        if self.number == 1 or not self.digest:
            return self.name
        return f"{type(self.block).__name__} {self.digest}"

    @property
    def digest(self) -> str:
        """Of the fields that the block was given; "" of what is no block with fields."""
        if not isinstance(self.block, Block):
            return ""
        given = self.block.model_fields_set
        try:
            every = self.block.model_dump(mode="json", context={"include_secrets": True})
        except ValueError:  # a field that cannot be written as JSON
            return ""
        fields = {name: value for name, value in every.items() if name in given}
        written = json.dumps(fields, sort_keys=True, default=str)
        return hashlib.sha256(written.encode()).hexdigest()[:16]

    async def send(self, message: Message) -> None:
        """Have the block notify."""
        block: Any = self.block
        if isinstance(block, str):
            loaded = cast(Any, Block).aload(block)
            block = await loaded
        if not hasattr(block, "notify"):
            raise ConfigurationError(f"notify={self.name!r}: this block sends no notifications.")
        sent = block.notify(message.body, message.subject)
        if inspect.isawaitable(sent):
            await sent


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A program that listens, and checks the signature as Standard Webhooks has it."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        """Where it is, without what may be secret in its address."""
        return f"webhook at {httpx.URL(self.url).host}"

    @property
    def key(self) -> str:
        """The name: there is one webhook."""
        return self.name

    @property
    def digest(self) -> str:
        """Nothing: there is one webhook."""
        return ""

    async def send(self, message: Message) -> None:
        """Post the message; an answer other than 2xx is an error, redirects too."""
        body, sent = message.as_json(), str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": sent,
            "webhook-signature": signature(self.secret, message.id, sent, body),
        }
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
            answer = await client.post(self.url, content=body, headers=headers)
        if not answer.is_success:
            raise httpx.HTTPError(f"it answered {answer.status_code}")


def signature(secret: str, identity: str, sent: str, body: bytes) -> str:
    """Sign a delivery as Standard Webhooks has it."""
    key = secret.encode()
    if secret.startswith(_SIGNING):
        try:
            key = base64.b64decode(secret.removeprefix(_SIGNING), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise ConfigurationError(
                "ATHANORE_NOTIFY_WEBHOOK_SECRET begins with whsec_, and the rest is no base64."
            ) from exc
    digest = hmac.new(key, f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def channels(app: App) -> list[Channel]:
    """Whom the app tells: the blocks of `notify=`, each once, and the webhook of the settings.

    Raises:
        ConfigurationError: the webhook has no secret.
    """
    settings = app.dispatcher.settings
    found: list[Channel] = []
    blocks: list[object] = []
    for block in app.dispatcher.notify:
        if block not in blocks:
            blocks.append(block)
            found.append(BlockChannel(block, sum(type(b) is type(block) for b in blocks)))
    if settings.notify_webhook_url is not None:
        if settings.notify_webhook_secret is None:
            raise ConfigurationError(NO_SECRET)
        found.append(
            WebhookChannel(
                settings.notify_webhook_url.get_secret_value(),
                settings.notify_webhook_secret.get_secret_value(),
            )
        )
    return found


async def happened(client: PrefectRunStore, app: str, since: datetime) -> list[Happened]:
    """Read what Prefect has of an app's events that are told, the oldest first; at most 1,000."""
    query = {
        "occurred": {
            "since": since.isoformat(),
            "until": (since + timedelta(days=3)).isoformat(),
        },
        "event": {"name": list(TOLD)},
        "resource": {"labels": {"athanore.app": [app]}},
        "order": "ASC",
    }
    answer = await client.request(
        "POST", cast(Any, "/events/filter"), json={"filter": query, "limit": _PAGE}
    )
    found: list[Happened] = []
    for _ in range(_PAGES):
        page = answer.json()
        found += [_read(event) for event in page["events"]]
        if not page["events"] or not page.get("next_page"):
            break
        token = parse_qs(urlsplit(str(page["next_page"])).query)["page-token"][0]
        answer = await client.request(
            "GET", cast(Any, "/events/filter/next"), params={"page-token": token}
        )
    return found


def _read(event: Mapping[str, Any]) -> Happened:
    resource = cast(Mapping[str, Any], event["resource"])
    payload = cast(Mapping[str, Any], event.get("payload") or {})
    text = str(next((payload[k] for k in _WORDS if payload.get(k)), ""))
    if "answer" in payload:
        text = f"{payload.get('by') or 'somebody'}: {payload['answer']}"
    return Happened(
        id=str(event["id"]),
        event=str(event["event"]),
        at=datetime.fromisoformat(event["occurred"]),
        subject=str(resource.get("prefect.resource.name") or "task"),
        task_id=resource.get("athanore.task-id"),
        text=text,
        question_id=str(payload.get("question_id") or ""),
    )


def needless(events: Sequence[Happened]) -> list[Happened]:
    """The questions among events that have ended before anybody was told of them; with their ends.

    Nobody has to hear of these: there is nothing to answer any more.
    """
    asked = {e.question_id for e in events if e.event == _ASKED}
    over = asked & {e.question_id for e in events if e.event in _ENDS_OF_QUESTIONS}
    return [e for e in events if e.question_id and e.question_id in over]


def messages(app: App, events: Sequence[Happened]) -> list[Message]:
    """Put events into words, those of one kind into one message; secrets are replaced."""
    by_kind: dict[str, dict[tuple[str, str], Happened]] = {}
    for event in events:
        # Several workers may tell of the same thing.
        same = (event.task_id or event.subject, event.text)
        by_kind.setdefault(event.event, {}).setdefault(same, event)
    return [_message(app, kind, list(found.values())) for kind, found in by_kind.items()]


def _message(app: App, kind: str, events: Sequence[Happened]) -> Message:
    one, several = TOLD[kind]
    if len(events) == 1:
        subject = f"{app.name}: {one}: {events[0].subject}"
    else:
        subject = f"{app.name}: {len(events)} {several}"
    lines = [_line(e) for e in events[:_SHOWN]]
    if len(events) > _SHOWN:
        lines.append(f"and {len(events) - _SHOWN} more")
    return Message(
        id=f"msg_{events[0].id}",
        event=kind,
        at=events[0].at,
        app=app.name,
        subject=cut(" ".join(app.redactor.text(subject).split()), _LONGEST),
        body=app.redactor.text("\n".join(lines)),
        count=len(events),
        task_ids=tuple(_ids(events)),
    )


def _line(event: Happened) -> str:
    which = event.subject if event.task_id is None else f"{event.subject} ({event.task_id})"
    said = event.text.partition("\n")[0]
    return cut(f"{which}: {said}" if said else which, _LONGEST)


def _ids(events: Iterable[Happened]) -> list[str]:
    return list(dict.fromkeys(e.task_id for e in events if e.task_id is not None))[:100]


def test_message(app: App, by: str) -> Message:
    """A message that says only that messages arrive."""
    now = app.clock.now()
    body = f"{by} has asked for this test message. Messages of the app {app.name!r} arrive here."
    identity = f"msg_test_{int(now.timestamp())}"
    return Message(identity, TEST, now, app.name, f"{app.name}: test", body)


def kept_under(app: str, channel: str) -> str:
    """The name of what Prefect keeps of a channel with a key."""
    return f"athanore-notify-{hashlib.sha256(f'{app}\0{channel}'.encode()).hexdigest()[:32]}"


def tags(app: str) -> list[str]:
    """The tags of what Prefect keeps of channels."""
    return ["athanore-notify", names.app_tag(app)]
