"""How workers share what there is: one that has more agents than another leaves runs to it.

For how long grows with how many more it has: on a busy machine the other may be slow to ask. Where
the others take nothing for some time, although they have room, the worker waits for them no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

_FOR_EACH_MORE = 0.3
"""Seconds that a worker leaves a run to another, for each agent that it has more than that one."""

_AT_MOST = 1.5

_PATIENCE = 5.0
"""Seconds after which others that took nothing are not waited for."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many agents a worker has, and how many it takes; None for no limit of its own."""

    agents: int
    limit: int | None = None

    def ahead_of(self, other: Load) -> float:
        """How many agents it has more; where both have a limit, than if they were equally full."""
        if self.limit and other.limit:
            return self.agents - other.agents * self.limit / other.limit
        return self.agents - other.agents


@dataclass(slots=True)
class Courtesy:
    """What a worker leaves to others, and for how long."""

    _since: dict[UUID, float] = field(default_factory=dict[UUID, float])
    _gone: set[UUID] = field(default_factory=set[UUID])
    _others_idle_since: float = 0.0
    _took_at: float = -math.inf

    def sees(self, offered: Sequence[UUID], now: float) -> None:
        """Note what is offered: runs that are gone were taken by others.

        On PostgreSQL a run is not offered, either, while another worker asks for it.

        Args:
            now: a clock in seconds.
        """
        were_offered = self._since.keys() - self._gone
        gone = self._since.keys() - set(offered)
        if were_offered & gone or not were_offered:
            self._others_idle_since = now
        self._gone = gone
        for run in offered:
            self._since.setdefault(run, now)

    def wait(self, run: UUID, own: Load, others: Sequence[Load], now: float) -> float:
        """Tell for how many more seconds a run that is offered is left to others.

        Args:
            others: those with room, by what they said last.
        """
        ahead = math.ceil(max(map(own.ahead_of, self._as_they_are_now(others)), default=0))
        if ahead <= 0:
            return 0.0
        since = max(self._since[run], self._took_at)
        until = min(
            since + min(ahead * _FOR_EACH_MORE, _AT_MOST), self._others_idle_since + _PATIENCE
        )
        return max(0.0, until - now)

    def is_overdue(self, run: UUID, now: float) -> bool:
        """Tell whether a run has been offered for so long that nobody else seems to take it."""
        return now - self._since[run] >= _PATIENCE

    def takes(self, run: UUID, now: float) -> None:
        """Note that the worker takes a run itself."""
        self._took_at = now
        del self._since[run]

    def forget(self) -> None:
        """Forget what is offered, when the worker does not follow it."""
        self._since.clear()
        self._gone.clear()

    def heard(self) -> None:
        """Note that the others have just said what they have."""
        for run in self._gone:
            del self._since[run]
        self._gone = set()

    def _as_they_are_now(self, others: Sequence[Load]) -> list[Load]:
        """What others have, with what they took since they said so: the emptiest ones took it."""
        now = list(others)
        for _ in range(len(self._gone) if now else 0):
            emptiest = min(range(len(now)), key=lambda n: now[n].agents / (now[n].limit or 1))
            now[emptiest] = Load(now[emptiest].agents + 1, now[emptiest].limit)
        return now
