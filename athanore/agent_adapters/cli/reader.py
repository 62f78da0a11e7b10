"""What all readers of JSON streams have in common: events, the session, usage, and troubles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Literal, cast

from athanore.agent_adapters.common.output import CUT, LINE_LIMIT
from athanore.agent_adapters.common.resets import reset_in
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind
from athanore.texts import cut

type Json = dict[str, Any]

VALUE_LIMIT = 8 * 1024
"""Characters of a tool's input or result in an event."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_STATUS = re.compile(r"\b(?:status|API Error):?\W{0,4}([45]\d\d)\b", re.IGNORECASE)
_LIMIT = re.compile(
    r"(?:hit|reached|exhausted|exceeded) your (?P<kind>daily quota|quota|[\w-]*? ?usage limit)"
    r"|(?P<individual>\b\w+ quota) reached",
    re.IGNORECASE,
)
_REFUSED_ACCOUNTS = frozenset({401, 402, 403})
_HOPELESS = frozenset({400, 404, 413, 422})
_TOO_MANY_REQUESTS = 429


class StreamReader:
    """Reads one attempt. A subclass overrides `on`; memory stays bounded.

    Attributes:
        session: the id by which the program goes on later.
        started: it got as far as having a session.
        usage: what the attempt has used so far.
        totals: what its session has used, of which the next attempt subtracts; None where the
            program counts each attempt by itself.
    """

    line_limit = 16 * 1024 * 1024

    def __init__(self) -> None:
        self.session: str | None = None
        self.started = False
        self.waits = False
        self.is_over = False
        self.usage: Json = {}
        self.totals: Json | None = None
        self.error: str | None = None
        self.status: int | None = None
        self.retry_at: datetime | None = None
        self._calls: dict[str, str] = {}
        self._refused: dict[str, None] = {}

    def take(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Turn a line of output into events."""
        message = parse(line) if stream == "stdout" else None
        return self.plain(stream, line) if message is None else self.on(message)

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Turn a line that is no JSON into events."""
        return say(stream, _STYLE.sub("", line))

    def on(self, message: Json) -> Iterable[AgentEvent]:
        """Turn one message of the stream into events."""
        raise NotImplementedError

    def last_words(self, line: str, events: Iterable[AgentEvent]) -> Iterable[str]:
        """What people read of the end: the text, not the JSON."""
        return [str(e.data.get("text")) for e in events if e.kind is EventKind.OUTPUT]

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """Say how the attempt ended; None if the exit code alone says it."""
        if self.error is not None:
            return failure(self.error, exit_code, status=self.status, retry_at=self.retry_at)
        if exit_code == 0 and self._refused:
            reason = f"permission denied: {', '.join(self._refused)}"
            return AgentResult(AgentOutcome.FAILED, reason, exit_code, retryable=False)
        return None

    # -- for subclasses -------------------------------------------------------------------------

    def begin(self, session: object, model: object = None) -> Iterator[AgentEvent]:
        """Note the session, once."""
        if self.started:
            return
        self.started, self.session = True, None if session is None else str(session)
        known = {"session_id": self.session, "model": model}
        self.usage |= {key: value for key, value in known.items() if value is not None}
        yield AgentEvent(EventKind.PROGRESS, known)

    def use(self, call: object, name: str, arguments: object) -> Iterator[AgentEvent]:
        """Tell that a tool is called; each call once."""
        if str(call) not in self._calls:
            self._calls[str(call)] = name
            rendered = json.dumps(arguments, default=str)
            shown = arguments if len(rendered) <= VALUE_LIMIT else cut(rendered, VALUE_LIMIT)
            yield AgentEvent(EventKind.TOOL_USE, {"name": name, "input": shown})

    def got(
        self, call: object, text: object, *, failed: bool, refused: bool = False
    ) -> Iterator[AgentEvent]:
        """Tell what a tool came to. One that was refused may be used with success later."""
        name = self._calls.pop(str(call), "")
        if refused:
            self._refused[name] = None
        elif not failed:
            self._refused.pop(name, None)
        data = {"name": name, "is_error": failed, "text": cut(str(text or ""), VALUE_LIMIT)}
        yield AgentEvent(EventKind.TOOL_RESULT, data)

    def spent(self, **amounts: object) -> Iterator[AgentEvent]:
        """Tell what the attempt has used so far."""
        self.usage |= amounts
        yield AgentEvent(EventKind.COST, dict(self.usage))


def say(stream: Literal["stdout", "stderr"], text: str) -> list[AgentEvent]:
    """Words of the agent, line by line."""
    return [
        AgentEvent(
            EventKind.OUTPUT,
            {"stream": stream, "text": x if len(x) <= LINE_LIMIT else f"{x[:LINE_LIMIT]}{CUT}"},
        )
        for x in text.splitlines()
    ]


def note(text: str) -> AgentEvent:
    """What people are told of the progress."""
    return AgentEvent(EventKind.PROGRESS, {"text": text})


def failure(
    text: str,
    exit_code: int | None,
    *,
    status: int | None = None,
    retry_at: datetime | None = None,
) -> AgentResult:
    """Say what an error means that a program tells.

    Args:
        text: its words.
        status: the provider's HTTP status, if the program names it apart from its words.
        retry_at: when it may be tried again, likewise.
    """
    words = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if status is None and (found := _STATUS.search(words)):
        status = int(found[1])
    limit = _LIMIT.search(words)
    if limit is not None or status == _TOO_MANY_REQUESTS:
        kind = "requests" if limit is None else limit["kind"] or limit["individual"]
        kind = kind.lower().removesuffix(" limit")
        fault = Fault(FaultKind.PROVIDER, retry_at=retry_at or reset_in(words), text=kind)
        return AgentResult(AgentOutcome.FAILED, f"provider limit ({kind})", exit_code, fault=fault)
    first = next((x.strip() for x in text.splitlines() if x.strip()), "the agent ended in an error")
    reason = cut(first, 200)
    if status in _REFUSED_ACCOUNTS:
        fault = Fault(FaultKind.ENVIRONMENT, text=f"API error {status}")
        return AgentResult(AgentOutcome.FAILED, reason, exit_code, retryable=False, fault=fault)
    return AgentResult(AgentOutcome.FAILED, reason, exit_code, retryable=status not in _HOPELESS)


def obj(value: object) -> Json:
    """An object of the stream; an empty one for anything else."""
    return cast(Json, value) if isinstance(value, dict) else {}


def objects(value: object) -> Iterator[Json]:
    """The objects of a list of the stream; none of anything else."""
    if isinstance(value, list):
        yield from (cast(Json, v) for v in cast("list[object]", value) if isinstance(v, dict))


def parse(line: str) -> Json | None:
    """The object of JSON that a line is; None if it is none, or an empty one."""
    if not line.startswith("{"):
        return None
    try:
        return obj(json.loads(line)) or None
    except ValueError:
        return None
