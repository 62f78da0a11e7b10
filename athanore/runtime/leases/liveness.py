"""Is a worker on another host still there? Decided from its heartbeats, and slowly.

A worker counts as lost when its heartbeat in Prefect has not changed for `worker_lost_after` while
we could see it: time in which the server (or this process) was away itself does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

type WorkerKey = tuple[str, str]
"""A worker's pool, and its name there."""


@dataclass(slots=True)
class _Watched:
    heartbeat: datetime | None
    silent: timedelta = timedelta(0)
    seen: bool = False


@dataclass(slots=True)
class Liveness:
    """Watches the heartbeats of an app's workers.

    Args:
        lost_after: the silence after which a worker is lost.
        longest_gap: a longer time between two looks counts as this much only.
        monotonic: a clock in seconds that nobody can set.
    """

    lost_after: timedelta
    longest_gap: timedelta = timedelta(seconds=60)
    monotonic: Callable[[], float] = time.monotonic
    _workers: dict[WorkerKey, _Watched] = field(default_factory=dict[tuple[str, str], _Watched])
    _last_looks: dict[str, float] = field(default_factory=dict[str, float])

    def observe(self, pool: str, heartbeats: Mapping[str, datetime | None]) -> None:
        """Note the latest heartbeat of every worker of a pool, by name, as Prefect has them now."""
        now = self.monotonic()
        gap = timedelta(seconds=now - self._last_looks.get(pool, now))
        gap = min(gap, self.longest_gap)
        self._last_looks[pool] = now
        known = {name for of_pool, name in self._workers if of_pool == pool}
        for name in {*heartbeats, *known}:
            heartbeat, watched = heartbeats.get(name), self._workers.get((pool, name))
            if watched is None:  # its silence, if it is one, begins now
                self._workers[pool, name] = _Watched(heartbeat, seen=heartbeat is not None)
                continue
            watched.seen |= heartbeat is not None
            if heartbeat != watched.heartbeat:
                watched.heartbeat, watched.silent = heartbeat, timedelta(0)
            else:
                watched.silent += gap

    def has_seen(self, name: WorkerKey) -> bool:
        """Tell whether Prefect has ever named this worker to us, so that its silence is one."""
        return name in self._workers and self._workers[name].seen

    def is_lost(self, name: WorkerKey) -> bool:
        """Tell whether a worker has been silent for too long; one that we never saw starts now."""
        watched = self._workers.setdefault(name, _Watched(None))
        return watched.silent >= self.lost_after
