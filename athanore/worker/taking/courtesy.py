"""How workers share what there is.

Each reckons its part of the agents that are at work and of the runs that wait, and takes runs up to
that: first those that fall to it by a hash that all of them reckon alike, then others at once.
Where Prefect answers slowly, so that two would often go for the same run, it leaves those that do
not fall to it for two looks. Beyond its part a worker leaves a run to the others, for longer the
more agents it has than they: on a busy machine another may be slow to ask. Where they take nothing
for some time, although they have room, the worker waits for them no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from uuid import UUID

_BUSY, _LOOKS = 1.0, 2
"""Where a worker asks Prefect no more often than this many seconds apart, runs that fall to another
are left to it for so many times that."""

_MOMENT, _MOMENT_EACH = 0.3, 0.1
"""Seconds that the others have at least, beyond a worker's part: and for each worker."""

_FOR_EACH_MORE = 0.3
"""Seconds that a worker leaves a run to another, for each agent that it has more than that one."""

_AT_MOST = 1.5

_PATIENCE = 5.0
"""Seconds after which others that took nothing are not waited for."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many agents a worker has, and how many it takes; None for no limit of its own."""

    worker: str
    agents: int
    limit: int | None = None

    def ahead_of(self, other: Load) -> float:
        """How many agents it has more; where both have a limit, than if they were equally full."""
        if self.limit and other.limit:
            return self.agents - other.agents * self.limit / other.limit
        return self.agents - other.agents

    @property
    def share(self) -> float:
        """Which part of its limit it has; without one, how many agents."""
        return self.agents / (self.limit or 1)

    @property
    def is_full(self) -> bool:
        """Whether it has as many as it takes."""
        return self.limit is not None and self.agents >= self.limit


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

    def choose(
        self,
        runs: Sequence[UUID],
        own: Load,
        others: Sequence[Load],
        now: float,
        asks_every: float = 0.0,
    ) -> tuple[list[UUID], float | None]:
        """Say which of some runs that are offered the worker takes now.

        Args:
            others: those with room, see `as_they_are_now`.
            asks_every: seconds from one request for runs to the next at present.

        Returns:
            The runs, and for how many more seconds at least one of the rest is left to others.
        """
        parts = _parts([own, *others], len(runs))
        below = [other.worker for other in others if other.agents < parts[other.worker]]
        is_own = {run: _falls_to(run, [own.worker, *below]) == own.worker for run in runs}
        busy = _LOOKS * asks_every if asks_every >= _BUSY else 0.0
        moment = max(_MOMENT, _MOMENT_EACH * (len(others) + 1), busy)
        taken: list[UUID] = []
        soonest: float | None = None
        for run in sorted(runs, key=is_own.__getitem__, reverse=True):
            if own.is_full:
                break
            if own.agents >= parts[own.worker]:
                until = self._beyond_part(run, own, others, moment)
            else:
                until = self._since[run] + (0.0 if is_own[run] else busy)
            if until > now:
                soonest = until - now if soonest is None else min(soonest, until - now)
                continue
            taken.append(run)
            own = replace(own, agents=own.agents + 1)
            del self._since[run]
            self._took_at = now
        return taken, soonest

    def _beyond_part(self, run: UUID, own: Load, others: Sequence[Load], moment: float) -> float:
        """Until when a run is left to others by one that has its part.

        Args:
            moment: seconds that they have in any case.
        """
        ahead = max(1, math.ceil(max(own.ahead_of(other) for other in others)))
        return min(
            max(self._since[run], self._took_at) + moment + min(ahead * _FOR_EACH_MORE, _AT_MOST),
            self._others_idle_since + _PATIENCE,
        )

    def forget(self) -> None:
        """Forget what is offered, when the worker does not follow it."""
        self._since.clear()
        self._gone.clear()

    def heard(self) -> None:
        """Note that the others have just said what they have."""
        for run in self._gone:
            del self._since[run]
        self._gone = set()


def as_they_are_now(others: Sequence[Load], have: int) -> list[Load]:
    """Those with room, with what they have now.

    Args:
        others: what each said last, some seconds ago.
        have: how many agents they have together; the emptiest ones took those of which none has
            said anything.
    """
    now = list(others)
    more = have - sum(load.agents for load in now)
    for _ in range(abs(more) if now else 0):
        which = (min if more > 0 else max)(now, key=lambda load: load.share)
        agents = max(0, which.agents + (1 if more > 0 else -1))
        now[now.index(which)] = replace(which, agents=agents)
    return [load for load in now if not load.is_full]


def _parts(everyone: Sequence[Load], waiting: int) -> Mapping[str, int]:
    """How many agents each of several workers has when all that waits is shared evenly.

    Where each has a limit, all are then equally full.
    """
    total = waiting + sum(load.agents for load in everyone)
    limits = [load.limit for load in everyone if load.limit is not None]
    sizes = limits if len(limits) == len(everyone) else [1] * len(everyone)
    return {
        load.worker: math.ceil(total * size / sum(sizes))
        for load, size in zip(everyone, sizes, strict=True)
    }


def _falls_to(run: UUID, workers: Sequence[str]) -> str:
    """Which of some workers has a run first, whoever reckons it."""
    return max(
        workers, key=lambda worker: blake2b(run.bytes + worker.encode(), digest_size=8).digest()
    )
