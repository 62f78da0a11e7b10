"""What polls and sweeps of an app note in their process for those that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from uuid import UUID

from athanore.models import TaskDraft

_MOST_WAITS = 1000


@dataclass(frozen=True, slots=True)
class Refused:
    """How long the board has refused the claims of a route: since when, and when last."""

    since: float
    last: float


@dataclass(slots=True)
class Noted:
    """Kept so that a poll or a sweep asks and says no more than it has to.

    Attributes:
        monotonic: a clock in seconds, of which all times here are.
        board_is_away: the last poll could not read the board, and has said so.
        poll_refused: by route, what the board refused its last poll, which has said so.
        is_swept: a worker in this process looks after the app's runs by a timer.
        settled: ids of tasks in progress to which nothing is due, and when that was found out.
        next_look: when polls of lost workers, and what is owed, are looked for again.
        owing: of runs that have ended and are not closed, the route and where their tasks may be.
        ended_seen: until when such runs were looked for; None: never.
        missing_queues: of the routes, and not on the board, as it was said last.
        not_looked_after: by route, why its runs could not be looked after, as it was said last.
        looked_for_rivals: by queue, when it was last asked who else watches it.
        watched: by queue, as whom the board has a note of us.
        refused: by route, that the board refuses its claims.
        comments_due: by question, when the comments on its card are read again.
        prefect_ids: by address, what tells one Prefect from another.
        waits: by run, why its last start had to wait, as it was said, and how often before.
        refused_ends: runs that the board has refused the end of an attempt.
        unseen: by pull request, what could not be looked at of it, as it was said last.
        drafts: by the mark of a time of a schedule, the words of its task, of which it is not known
            whether it was created.
        owed_polls: queues that changed, as the board's webhook said, and could not be polled then.
    """

    monotonic: Callable[[], float] = monotonic
    board_is_away: bool = False
    poll_refused: dict[str, str] = field(default_factory=dict[str, str])
    is_swept: bool = False
    settled: dict[str, float] = field(default_factory=dict[str, float])
    next_look: float = 0.0
    owing: dict[UUID, tuple[str, tuple[str, ...]]] = field(
        default_factory=dict[UUID, tuple[str, tuple[str, ...]]]
    )
    ended_seen: datetime | None = None
    not_looked_after: dict[str, str] = field(default_factory=dict[str, str])
    missing_queues: frozenset[str] = frozenset()
    looked_for_rivals: dict[str, float] = field(default_factory=dict[str, float])
    watched: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, Refused] = field(default_factory=dict[str, Refused])
    comments_due: dict[str, float] = field(default_factory=dict[str, float])
    prefect_ids: dict[str, str] = field(default_factory=dict[str, str])
    waits: dict[UUID, tuple[str, int]] = field(default_factory=dict[UUID, tuple[str, int]])
    refused_ends: set[UUID] = field(default_factory=set[UUID])
    unseen: dict[str, str] = field(default_factory=dict[str, str])
    drafts: dict[str, TaskDraft] = field(default_factory=dict[str, TaskDraft])
    owed_polls: set[str] = field(default_factory=set[str])

    def waits_again(self, run_id: UUID, why: str) -> int:
        """Note why a start has to wait; return how many in a row had to for the same reason."""
        before, times = self.waits.get(run_id, ("", 0))
        times = times + 1 if before == why else 0
        if len(self.waits) >= _MOST_WAITS:  # most of these have had their turn since
            self.waits.clear()
        self.waits[run_id] = why, times
        return times

    def end_refused_anew(self, run_id: UUID) -> bool:
        """Note that the board refuses the end of an attempt; True if it did not before."""
        if run_id in self.refused_ends:
            return False
        if len(self.refused_ends) >= _MOST_WAITS:
            self.refused_ends.clear()
        self.refused_ends.add(run_id)
        return True
