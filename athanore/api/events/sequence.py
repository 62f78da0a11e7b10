"""Putting a task's events in order: nothing lost, nothing twice, across cut connections.

Events come from Prefect's live stream, which may drop and reorder them, and from its database,
which has all of them some seconds later. Each source (one start of a run, one API process) numbers
its events from 1 without gaps; an event is held back until those before it have come.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun

from athanore.api.events.event_log import LoggedEvent

GAP_SECONDS = 12.0
"""How long an event waits for those before it; Prefect's database has them after 5 s."""

WRITTEN_AFTER = timedelta(seconds=7)
"""How old an event is when all that were sent before it are surely in Prefect's database."""

WINDOW = timedelta(seconds=60)
"""How far back a resumed stream looks, for events that were written down late."""

_MAX_HELD = 500
_MAX_IDS = 1000
_CURSOR_IDS = 20
_LONGEST_CURSOR = 16_384
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader has come: the id of the last event that it got."""

    at: datetime
    numbers: dict[str, int]
    ids: tuple[str, ...]

    def encode(self) -> str:
        """The cursor as the id of an event."""
        value = [round(self.at.timestamp() * 1000), self.numbers, self.ids]
        text = json.dumps(value, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a `Last-Event-ID`.

        Raises:
            ValueError: it is none of ours.
        """
        try:
            if len(text) > _LONGEST_CURSOR:
                raise ValueError("too long")
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            millis, numbers, ids = json.loads(raw)
            at = datetime.fromtimestamp(int(millis) / 1000, UTC)
            if not _EARLIEST < at < _LATEST:
                raise ValueError("no time of an event")
            return cls(
                at,
                {str(k): int(v) for k, v in dict(numbers).items()},
                tuple(str(i) for i in ids),
            )
        except (ValueError, TypeError, OverflowError, OSError, RecursionError) as exc:
            raise ValueError("this is no event id of this API") from exc


def earlier_runs(
    runs: Iterable[FlowRun], newest: FlowRun | None, cursor: Cursor | None
) -> frozenset[str]:
    """The ids of the runs of a task that were over before a reader's stream began.

    Their last events may be as young as the first ones of the run that the stream begins with.

    Args:
        runs: the task's last runs, with the newest.
        cursor: how far the reader has come; None begins with the newest run.
    """
    runs, first = list(runs), newest
    if cursor is not None:
        known = {source.partition(".")[0] for source in cursor.numbers}
        mine = [r for r in runs if str(r.id)[:13] in known]
        first = min(mine, key=lambda r: r.created or _EARLIEST, default=None)
    if first is None or first.created is None:
        return frozenset()
    began = first.created
    return frozenset(str(r.id) for r in runs if r.created is not None and r.created < began)


class Progress:
    """Where a reader is, so that every event it gets carries the id to resume after it."""

    def __init__(self, cursor: Cursor | None = None) -> None:
        self._at = cursor.at if cursor else datetime.min.replace(tzinfo=UTC)
        numbers = cursor.numbers if cursor else {}
        self._numbers = {n: (number, self._at) for n, number in numbers.items()}
        self._ids = deque(((i, self._at) for i in cursor.ids) if cursor else (), _CURSOR_IDS)

    def passed(self, event: LoggedEvent) -> str:
        """Note that an event is given on, and return its id."""
        at = event.model.at
        self._at = max(self._at, at)
        if event.source is None:
            self._ids.append((_short(event), at))
        else:
            self._numbers[event.source] = (event.number, at)
        horizon = self._at - WINDOW
        self._numbers = {n: v for n, v in self._numbers.items() if v[1] >= horizon}
        return Cursor(
            self._at,
            {n: number for n, (number, _) in self._numbers.items()},
            tuple(i for i, seen in self._ids if seen >= horizon),
        ).encode()


@dataclass(slots=True)
class _Source:
    last: int = 0
    held: dict[int, LoggedEvent] = field(default_factory=dict[int, LoggedEvent])
    waiting_since: float = 0.0


class Sequencer:
    """Takes events in any order, some twice, and gives them on in order, each once.

    Times are seconds of a monotonic clock.

    Args:
        cursor: where an earlier connection ended.
    """

    def __init__(self, cursor: Cursor | None = None) -> None:
        self._sources: dict[str, _Source] = {}
        self._ids: OrderedDict[str, None] = OrderedDict()
        if cursor is not None:
            self._sources = {n: _Source(last=number) for n, number in cursor.numbers.items()}
            self._ids = OrderedDict.fromkeys(cursor.ids)

    @property
    def has_gap(self) -> bool:
        """True while events wait for others before them."""
        return any(s.held for s in self._sources.values())

    def offer(self, event: LoggedEvent, now: float) -> list[LoggedEvent]:
        """Take an event and return those that are due, in order."""
        if event.source is None:
            if (short := _short(event)) in self._ids:
                return []
            self._ids[short] = None
            while len(self._ids) > _MAX_IDS:
                self._ids.popitem(last=False)
            return [event]
        source = self._sources.setdefault(event.source, _Source())
        if event.number <= source.last:
            return []
        if not source.held:
            source.waiting_since = now
        source.held[event.number] = event
        due = _take(source, now)
        if len(source.held) > _MAX_HELD:
            due += _skip_gap(source, now)
        return due

    def settle(self, now: float, looked: datetime) -> list[LoggedEvent]:
        """Begin sources that were joined in the middle with the first event that is there.

        An event that is too young for that waits: those before it may still be on their way.

        Args:
            looked: when the look into Prefect's database began.
        """
        joined = [s for s in self._sources.values() if s.held and s.last == 0]
        old = [s for s in joined if s.held[min(s.held)].model.at < looked - WRITTEN_AFTER]
        return [e for source in old for e in _skip_gap(source, now)]

    def overdue(self, now: float) -> list[LoggedEvent]:
        """Give up events that did not come, and return those that waited for them."""
        late = [s for s in self._sources.values() if s.held and now - s.waiting_since > GAP_SECONDS]
        return [e for source in late for e in _skip_gap(source, now)]


def _take(source: _Source, now: float) -> list[LoggedEvent]:
    due: list[LoggedEvent] = []
    while (following := source.held.pop(source.last + 1, None)) is not None:
        source.last += 1
        source.waiting_since = now
        due.append(following)
    return due


def _skip_gap(source: _Source, now: float) -> list[LoggedEvent]:
    source.last = min(source.held) - 1
    return _take(source, now)


def _short(event: LoggedEvent) -> str:
    """The random end of an event's id: enough to tell a task's events of a minute apart."""
    return event.model.id[-12:]
