"""Delivers what people are told, one channel apart from the other, beside the runs.

Prefect keeps for each channel who delivers, how far that one came, and what it has delivered last.
A worker that finds nobody at it takes it over. So of two workers one delivers; a message may come
twice, with one id, when the worker is killed between the delivery and the note of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from athanore.errors import reason
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.services.people import notices
from athanore.services.people.notices import Channel, Happened

logger = logging.getLogger("athanore.worker")

LOOK_EVERY = 5.0
_LATE = timedelta(seconds=30)
"""Events may get into Prefect's database so long after they occurred."""

_APART = timedelta(minutes=1)
"""The messages of a kind are at least so far apart; what comes in between is gathered."""

_LEASE = timedelta(seconds=60)
_OLDEST = timedelta(days=1)
"""What could not be delivered for so long is given up."""

_LONGEST_PAUSE = 900.0
_REMEMBERED = 250
"""Ends of ids: Prefect keeps no longer values."""


@dataclass(slots=True)
class _State:
    by: str
    until: datetime
    begun: datetime
    since: datetime
    done: list[str]
    block: str
    """Which block it is of; "" when an earlier version wrote it, or it is no block's."""

    kinds: frozenset[str]
    later: dict[str, datetime]
    """Since when the kinds are told that a newer version has added."""

    @classmethod
    def read(cls, value: Any, now: datetime) -> _State:
        try:
            until = datetime.fromisoformat(value["until"])
            begun = datetime.fromisoformat(value["begun"])
            since = datetime.fromisoformat(value["since"])
            done = [str(i) for i in value["done"]]
            block = str(value.get("block") or "")
            kinds = frozenset(str(k) for k in value.get("kinds", notices.TOLD_AT_FIRST))
            later = {k: datetime.fromisoformat(at) for k, at in value.get("later", {}).items()}
            return cls(str(value["by"]), until, begun, since, done, block, kinds, later)
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls("", now, now, now, [], "", frozenset(notices.TOLD), {})

    def tell(self, kinds: Collection[str], now: datetime) -> bool:
        """Have these kinds told: new ones from now on. Returns whether that changes anything."""
        changed = self.kinds != frozenset(kinds)
        recent = {k: at for k, at in self.later.items() if k in kinds and at > now - _OLDEST}
        self.later = recent | dict.fromkeys(set(kinds) - self.kinds, now)
        self.kinds = frozenset(kinds)
        return changed

    def tells(self, event: Happened) -> bool:
        """Whether the event happened since anybody was to be told of such."""
        return event.at > max(self.begun, self.later.get(event.event, self.begun))

    def advance(self, events: Collection[Happened], new: Collection[Happened]) -> bool:
        """Note up to when all is done, so that the ends of what follows are few enough to be kept.

        Args:
            events: what was read, the oldest first.
            new: what of it is not handled yet.

        Returns:
            Whether `since` has moved.
        """
        left = {_end(e) for e in new}
        handled = [e for e in events if _end(e) not in left]
        first = min((e.at for e in new), default=None)
        before = [e.at for e in handled if first is None or e.at < first]
        if len(events) <= _REMEMBERED // 2 or not before:
            return False
        since = max(before)
        again = [e for e in handled if e.at >= since - _LATE]
        if len(again) > _REMEMBERED:  # what arrives late among these cannot be told from them
            since = again[-_REMEMBERED - 1].at + timedelta(microseconds=1) + _LATE
            since = since if first is None else min(since, first + _LATE)
        moved, self.since = since > self.since, max(since, self.since)
        known = {_end(e) for e in handled}
        later = [_end(e) for e in handled if e.at >= self.since - _LATE]
        self.done = [end for end in self.done if end not in known] + later
        return moved

    def value(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "until": self.until.isoformat(),
            "begun": self.begun.isoformat(),
            "since": self.since.isoformat(),
            "done": self.done[-_REMEMBERED:],
            "block": self.block,
            "kinds": sorted(self.kinds),
            "later": {kind: at.isoformat() for kind, at in self.later.items()},
        }


class Delivery:
    """Delivers what happens in an app to one channel.

    Args:
        worker: who delivers; the same for whatever this process delivers later, as nobody else
            delivers for a minute.
    """

    def __init__(self, client: PrefectRunStore, app: App, channel: Channel, worker: str) -> None:
        self._client = client
        self._app = app
        self._channel = channel
        self._worker = worker
        self._name = notices.kept_under(app.name, channel.key)
        self._sent: dict[str, datetime] = {}
        self._failures = 0
        self._refused: dict[str, int] = {}
        self._again: dict[str, datetime] = {}

    async def keep(self) -> None:
        """Deliver until cancelled. No failure ends it; after one it waits longer and longer."""
        while True:
            try:
                await self.look()
                self._failures = 0
            except Exception as exc:
                self._failures += 1
                logger.log(
                    logging.WARNING if self._failures == 1 else logging.DEBUG,
                    "%s could not be told what happened (%s); it is tried again.",
                    self._channel.name,
                    self._app.redactor.text(reason(exc)),
                    extra={"action": "notice_failed"},
                )
            pause = min(LOOK_EVERY * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def look(self) -> int:
        """Deliver what is new; returns how many messages were sent."""
        now = self._app.clock.now()
        kept = await self._client.value(self._name)
        state = _State.read(None if kept is None else kept.value, now)
        if state.by not in ("", self._worker) and state.until > now:
            return 0
        if state.block not in ("", self._channel.digest):
            # Another block was the first of its class, and what it was told says nothing of this.
            kept, state = None, _State.read(None, now)
        changed = state.tell(notices.TOLD, now)
        if changed or kept is None or state.by != self._worker or state.until < now + _LEASE / 2:
            await self._note(state, now)
        since = max(state.since, now - _OLDEST)
        events = await notices.happened(self._client, self._app.name, since - _LATE)
        events = [e for e in events if state.tells(e)]
        new = [e for e in events if _end(e) not in state.done]
        if needless := notices.needless(new):
            state.done += [_end(e) for e in needless]
            await self._note(state, now)
            new = [e for e in new if e not in needless]
        due = [e for e in new if now - self._sent.get(e.event, now - _APART) >= _APART]
        due = [e for e in due if now >= self._again.get(e.event, now)]
        held = [e for e in new if e not in due]
        if held and sum(e.at >= held[0].at for e in events) - len(held) > _REMEMBERED:
            due = new  # the ends of so many that follow could not be kept
        sent, failed = 0, None
        for message in notices.messages(self._app, due):
            try:
                await self._channel.send(message)
            except Exception as exc:  # a kind that the receiver refuses keeps no other from it
                failed = failed or exc
                count = self._refused[message.event] = self._refused.get(message.event, 0) + 1
                pause = min(LOOK_EVERY * 2 ** min(count, 10), _LONGEST_PAUSE)
                self._again[message.event] = now + timedelta(seconds=pause)
                stuck = [e for e in new if e.event == message.event]
                if sum(e.at >= stuck[0].at for e in events) - len(stuck) <= _REMEMBERED:
                    continue
                # The ends of so many that follow could not be kept, and would be told again.
                logger.error(
                    "%s is not told of %s: %s",
                    self._channel.name,
                    message.subject,
                    self._app.redactor.text(reason(exc)),
                    extra={"action": "notice_given_up"},
                )
            self._sent[message.event] = now
            self._refused.pop(message.event, None)
            told = [e for e in due if e.event == message.event]
            state.done += [_end(e) for e in told]
            new = [e for e in new if e.event != message.event or e not in told]
            state.advance(events, new)
            await self._note(state, now)
            sent += 1
        if state.advance(events, new):
            await self._note(state, now)
        if failed is not None:
            raise failed
        return sent

    async def _note(self, state: _State, now: datetime) -> None:
        state.by, state.until, state.block = self._worker, now + _LEASE, self._channel.digest
        await self._client.keep(self._name, state.value(), notices.tags(self._app.name))


async def keep_delivering(client: PrefectRunStore, app: App, worker: str) -> None:
    """Deliver to all channels of an app until cancelled, also to those of code taken over later.

    Args:
        worker: who delivers.
    """
    at_work: dict[str, tuple[Channel, asyncio.Task[None]]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            there = {channel.key: channel for channel in notices.channels(app)}
            for key, (channel, task) in list(at_work.items()):
                if there.get(key) != channel:
                    task.cancel()
                    await asyncio.wait([task])
                    del at_work[key]
            for key, channel in there.items():
                if key not in at_work:
                    task = group.create_task(Delivery(client, app, channel, worker).keep())
                    at_work[key] = (channel, task)
            await asyncio.sleep(LOOK_EVERY)


def _end(event: Happened) -> str:
    return event.id[-12:]
