"""What the polls of an app note in their process for the polls that follow."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refused:
    """How long the board has refused the claims of a route: since when, and when last."""

    since: float
    last: float


@dataclass(slots=True)
class Noted:
    """Kept so that a poll asks and says no more than it has to. Times are of `time.monotonic`.

    Attributes:
        board_is_away: the last poll could not read the board, and has said so.
        settled: by queue, ids of tasks in progress to which nothing is due.
        next_look: by queue, when its polls are looked after again.
        looked_for_rivals: by queue, when it was last asked who else watches it.
        refused: by route, that the board refuses its claims.
        prefect_ids: by address, what tells one Prefect from another.
    """

    board_is_away: bool = False
    settled: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    next_look: dict[str, float] = field(default_factory=dict[str, float])
    looked_for_rivals: dict[str, float] = field(default_factory=dict[str, float])
    refused: dict[str, Refused] = field(default_factory=dict[str, Refused])
    prefect_ids: dict[str, str] = field(default_factory=dict[str, str])
