"""How workers share what there is.

Each reckons its part of the agents that are at work and of the runs that wait, and takes runs up to
that. So that no two take the same one, each run falls to one of those that have less than their
part, by a hash that all of them reckon alike; one that is not taken at once any other may have a
moment later. Beyond its part a worker leaves a run to the others, for longer the more agents it
has than they: on a busy machine another may be slow to ask. Where they take nothing for some time,
although they have room, the worker waits for them no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from uuid import UUID

_MOMENT, _MOMENT_EACH = 0.3, 0.1
"""Seconds that the worker has to which a run falls: at least, and for each worker."""

_LOOKS = 2
"""It has at least the time of so many looks, which are far apart where Prefect answers slowly."""

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
        looks_every: float = 0.0,
    ) -> tuple[list[UUID], float | None]:
        """Say which of some runs that are offered the worker takes now.

        Args:
            others: those with room, see `as_they_are_now`.
            looks_every: seconds from one look of a worker to the next at present.

        Returns:
            The runs, and for how many more seconds at least one of the rest is left to others.
        """
        moment = max(_MOMENT, _MOMENT_EACH * (len(others) + 1), _LOOKS * looks_every)
        taken: list[UUID] = []
        soonest: float | None = None
        for run in runs:
            if own.is_full:
                break
            waiting = len(runs) - len(taken)
            if (until := self._left_until(run, own, others, waiting, moment)) > now:
                soonest = until - now if soonest is None else min(soonest, until - now)
                continue
            taken.append(run)
            own = replace(own, agents=own.agents + 1)
            del self._since[run]
            self._took_at = now
        return taken, soonest

    def _left_until(
        self, run: UUID, own: Load, others: Sequence[Load], waiting: int, moment: float
    ) -> float:
        """Until when others may have a run first.

        Args:
            waiting: how many runs are offered, this one among them.
            moment: seconds that the worker has to which a run falls.
        """
        since, everyone = self._since[run], [own, *others]
        if own.agents < _part(own, everyone, waiting):
            below = [load for load in everyone if load.agents < _part(load, everyone, waiting)]
            falls_to = max(below, key=lambda load: _weight(run, load.worker))
            return since if falls_to is own else since + moment
        ahead = max(1, math.ceil(max(own.ahead_of(other) for other in others)))
        return min(
            max(since, self._took_at) + moment + min(ahead * _FOR_EACH_MORE, _AT_MOST),
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
        by_share = sorted(range(len(now)), key=lambda n: now[n].agents / (now[n].limit or 1))
        which, step = (by_share[0], 1) if more > 0 else (by_share[-1], -1)
        now[which] = replace(now[which], agents=max(0, now[which].agents + step))
    return [load for load in now if not load.is_full]


def _part(of: Load, everyone: Sequence[Load], waiting: int) -> int:
    """How many agents one of several workers has when all that waits is shared evenly.

    Where each has a limit, all are then equally full.
    """
    total = waiting + sum(load.agents for load in everyone)
    limits = [load.limit for load in everyone]
    if of.limit is None or None in limits:
        return math.ceil(total / len(everyone))
    return math.ceil(total * of.limit / sum(limit for limit in limits if limit is not None))


def _weight(run: UUID, worker: str) -> bytes:
    return blake2b(run.bytes + worker.encode(), digest_size=8).digest()
