"""The open tasks of a board, as they were a moment ago: what polls are answered from.

A board that fits one answer is read whole each time, with the mark (ETag) of the last answer where
the tracker has such. Of a larger one only what has changed since is asked for, in the same way, and
the whole every ten minutes: what is deleted, transferred, or has lost a deleted label may change no
time of its own.

What is closed while the whole is read moves the rows behind it to an earlier page, which may have
been read: one is missing then. The changes tell of it, and the whole is read once more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from athanore.queue_adapters.times import time_of

logger = logging.getLogger(__name__)

MAX_AGE: Final = 1.5
"""Seconds in which one reading answers all polls."""

WHOLE_EVERY: Final = 600.0
"""Seconds after which a large board is read whole."""

OWN_COUNTS: Final = 10.0
"""Seconds for which what we have written is true, whatever a list says: lists lag."""

TELLS_LATE: Final = 10.0
"""Seconds after which a list of changes tells what was changed before."""

OVERLAP: Final = timedelta(minutes=1)
"""Changes may appear in a list in another order than their times."""

type Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""


class Card(Protocol):
    """What the picture has to know of a task, in whatever form the tracker tells it."""

    @property
    def id(self) -> str: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def updated_at(self) -> str:
        """When it was changed last; compared as text with that of the same task only."""
        ...

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of the task differs in nothing that we write."""
        ...


@dataclass(frozen=True, slots=True)
class Reading[C: Card]:
    """An answer of the tracker.

    Attributes:
        cards: whole readings tell those that are open, others those that have changed.
        mark: what tells an unchanged list at the next reading; None if there is no such thing.
        is_small: whether the next reading is to be whole as well.
        at: when it was begun, by the tracker's clock.
        left: when rows that are no cards have left the list of the open ones, as a list of changes
            tells it; of cards it is known.
    """

    cards: Sequence[C]
    mark: str | None
    is_small: bool
    at: datetime
    left: Sequence[datetime] = ()


class Source[C: Card](Protocol):
    """Where a picture is read from; each reading is None if nothing has changed since its mark."""

    def whole(self, mark: str | None) -> Reading[C] | None:
        """Read the open tasks, in the board's order."""
        ...

    def since(self, moment: datetime, mark: str | None) -> Reading[C] | None:
        """Read what has changed since a moment, open or not; newest first, lest one be missed."""
        ...


class OwnWrites[C: Card]:
    """What this process has just written, which is true for it though lists lag; thread-safe."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._own: dict[str, tuple[C, float]] = {}

    def wrote(self, card: C) -> None:
        """Note what we have written, or read of one task right after."""
        now = self._now()
        with self._lock:
            self._drop_old(now)
            self._own[card.id] = (card, now + OWN_COUNTS)

    def of(self, card_id: str) -> C | None:
        """What we have just written of a task."""
        with self._lock:
            own = self._own.get(card_id)
        return own[0] if own is not None and own[1] > self._now() else None

    def is_own(self, card: C) -> bool:
        """Tell whether a task is as we have just written it."""
        own = self.of(card.id)
        return own is not None and card.looks_like(own)

    def recent(self) -> list[C]:
        """What has been written and still counts."""
        now = self._now()
        with self._lock:
            self._drop_old(now)
            return [card for card, _ in self._own.values()]

    def _drop_old(self, now: float) -> None:
        self._own = {task_id: own for task_id, own in self._own.items() if own[1] > now}

    def forget(self) -> None:
        """Believe the lists."""
        with self._lock:
            self._own.clear()


class Picture[C: Card]:
    """Reads the open tasks of one board; one thread at a time, for all that ask.

    Args:
        now: the clock.
        spacing: how old a reading may become before another one, beyond `MAX_AGE`; it grows while
            little of a quota is left.
        order: what the tasks are sorted by; None keeps the order of the whole reading, and puts
            what it has not told yet last.
    """

    def __init__(
        self,
        source: Source[C],
        now: Clock = time.monotonic,
        order: Callable[[C], int] | None = None,
        spacing: Callable[[], timedelta] = timedelta,
    ) -> None:
        self._now = now
        self._order = order
        self._spacing = spacing
        self._is_sparing = False
        self._source = source
        self._lock = threading.Lock()
        self._own = OwnWrites[C](now)
        self._listed: dict[str, C] = {}
        self._read_at = self._whole_at = float("-inf")
        self._since: datetime | None = None
        self._mark: str | None = None
        self._paged: tuple[datetime, datetime] | None = None

    def cards(self) -> list[C]:
        """The open tasks, in the board's order.

        Raises:
            MissingError: the account cannot see the board.
        """
        with self._lock:
            asked_at = self._now()
            if asked_at - self._read_at >= max(MAX_AGE, self._pause()):
                self._read(asked_at)
                self._read_at = asked_at
            merged = dict(self._listed)
        merged |= {card.id: card for card in self._own.recent()}
        found = [card for card in merged.values() if card.is_open]
        return found if self._order is None else sorted(found, key=self._order)

    def _pause(self) -> float:
        """How old a reading may be, in seconds; it is said when that begins to grow, and ends."""
        pause = self._spacing().total_seconds()
        if (pause > MAX_AGE) is not self._is_sparing:
            self._is_sparing = not self._is_sparing
            if self._is_sparing:
                logger.warning(
                    "Little is left of the requests that the board allows this account: until they "
                    "are counted anew it is read every %.0f s at most. Claims are not held up.",
                    pause,
                    extra={"action": "board_read_less"},
                )
            else:
                logger.info(
                    "The board is read as often as before.", extra={"action": "board_read_as_usual"}
                )
        return pause

    def wrote(self, card: C) -> None:
        """Note what we have written, or read of one task right after."""
        self._own.wrote(card)

    def own(self, card_id: str) -> C | None:
        """What we have just written of a task; None if nothing, or some time ago."""
        return self._own.of(card_id)

    def is_own(self, card: C) -> bool:
        """Tell whether a task is as we have just written it."""
        return self._own.is_own(card)

    def expire(self) -> None:
        """Have the next poll ask what has changed."""
        with self._lock:
            self._read_at = float("-inf")

    def forget(self) -> None:
        """Have everything read anew: a queue was renamed or deleted."""
        with self._lock:
            self._read_at = float("-inf")
            self._since = self._mark = None
            self._own.forget()

    def _read(self, now: float) -> None:
        if self._since is None or now - self._whole_at >= WHOLE_EVERY:
            self._read_whole(now)
        else:
            self._read_changes(self._since, now)

    def _read_whole(self, now: float) -> None:
        reading = self._source.whole(self._mark if self._since is None else None)
        if reading is None:
            return
        self._listed = {card.id: card for card in reading.cards}
        is_second = self._whole_at == float("-inf") and self._since is not None
        self._paged = None if reading.is_small or is_second else self._time_of(reading, now)
        self._whole_at = now
        self._mark = reading.mark if reading.is_small else None
        self._since = None if reading.is_small else reading.at - OVERLAP

    def _read_changes(self, since: datetime, now: float) -> None:
        reading = self._source.since(since, self._mark)
        if reading is None:
            return
        for card in reading.cards:
            known = self._listed.get(card.id)
            if known is not None and known.updated_at > card.updated_at:
                continue
            if card.is_open:
                self._listed[card.id] = card
            else:
                self._listed.pop(card.id, None)
        self._mark = reading.mark
        if self._has_lost_some(reading):
            self._whole_at = float("-inf")
            self._read_whole(now)
            return
        if self._paged is not None and now - self._whole_at > TELLS_LATE:
            self._paged = None
        if not reading.is_small:  # that many changes are not to be read again and again
            self._since = reading.at - OVERLAP

    def _time_of(self, reading: Reading[C], began: float) -> tuple[datetime, datetime]:
        """When a reading was made, by the tracker's clock, which may tell whole seconds."""
        second = timedelta(seconds=1)
        return reading.at - second, reading.at + timedelta(seconds=self._now() - began) + second

    def _has_lost_some(self, reading: Reading[C]) -> bool:
        """Tell whether something has left the list while the whole of it was read, page by page."""
        if self._paged is None:
            return False
        begun, ended = self._paged
        gone = [time_of(card.updated_at) for card in reading.cards if not card.is_open]
        return any(at is not None and begun <= at <= ended for at in [*gone, *reading.left])
