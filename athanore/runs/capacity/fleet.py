"""What the workers of an app say of themselves, and what people ask of them, kept in Prefect.

Prefect's own record of a worker has a name and a heartbeat. The rest is in one variable for each
worker, which it alone writes, and one for each that shall take nothing new, which people write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from prefect.client.schemas.objects import Worker
from pydantic import TypeAdapter

from athanore import names
from athanore.runs.port import RunStore

_TAG = "athanore-fleet"
_PAGE = 200

_SHARED_FROM = 4

_LONGEST_SILENCE = timedelta(seconds=45)
"""Our workers are heard of every 5 s, Prefect's own every 30 s."""


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """What a worker says of itself.

    Attributes:
        name: `host-process-xxxx`, as runs name their holder.
        pool_name: what Prefect calls it in the pool of the agents.
        host: its host's name.
        labels: what `--host-labels` said of the host.
        limit: how many agents it takes at once; None for no limit of its own.
        agents: how many it had when it said so, some seconds ago.
        version: of the app's code.
        started_at: when it began, by Prefect's clock.
        clock_offset: seconds that its host's clock is ahead of Prefect's.
        full: why it takes nothing more at present although its limit would let it; "" if it does.
    """

    name: str
    pool_name: str
    host: str
    started_at: datetime
    labels: tuple[str, ...] = ()
    limit: int | None = None
    agents: int = 0
    version: str = ""
    clock_offset: float = 0.0
    full: str = ""

    @property
    def has_room(self) -> bool:
        """Whether it takes another agent, unless it is drained."""
        return not self.full and (self.limit is None or self.agents < self.limit)


@dataclass(frozen=True, slots=True)
class Drain:
    """That a worker shall take nothing new.

    Attributes:
        worker: its name.
        since: since when.
        by: who asked for it.
        then_exit: that it ends when its agents have.
    """

    worker: str
    since: datetime
    by: str = ""
    then_exit: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of an app, by name, and which of them are drained."""

    workers: Mapping[str, WorkerEntry] = field(default_factory=dict[str, WorkerEntry])
    drains: Mapping[str, Drain] = field(default_factory=dict[str, Drain])


_ENTRY = TypeAdapter(WorkerEntry)
_DRAIN = TypeAdapter(Drain)


def interval(alone: float, workers: int, longest: float) -> float:
    """Seconds from one look of a worker to its next, where several workers look at the same.

    More than four look about as often together as four, but each as often as `longest` says.

    Args:
        alone: the seconds of a worker that has few others.
        workers: how many there are, this one among them.
        longest: at most so many seconds, unless one alone looks less often.
    """
    return min(alone * max(1.0, workers / _SHARED_FROM), max(alone, longest))


async def read_fleet(prefect: RunStore, app: str) -> Fleet:
    """Read what an app's workers say of themselves, also of those that are gone."""
    workers: dict[str, WorkerEntry] = {}
    drains: dict[str, Drain] = {}
    for kept in await prefect.values([_TAG, names.app_tag(app)]):
        # Of another version, or somebody's own: nothing that we could use.
        with suppress(ValueError, AttributeError):
            if kept.value.get("kind") == "drain":
                drain = _DRAIN.validate_python(_without_kind(kept.value))
                drains[drain.worker] = drain
            else:
                entry = _ENTRY.validate_python(_without_kind(kept.value))
                workers[entry.name] = entry
    return Fleet(workers, drains)


async def announce(prefect: RunStore, app: str, entry: WorkerEntry) -> None:
    """Note what a worker says of itself, instead of what it said before."""
    value = {"kind": "worker", **_ENTRY.dump_python(entry, mode="json")}
    await prefect.keep(_entry_name(app, entry.name), value, [_TAG, names.app_tag(app)])


async def forget_worker(prefect: RunStore, app: str, worker: str) -> None:
    """Remove what was noted of a worker that has ended, and what was asked of it."""
    await prefect.forget(_entry_name(app, worker))
    await prefect.forget(_drain_name(app, worker))


async def drain(prefect: RunStore, app: str, asked: Drain) -> None:
    """Note that a worker shall take nothing new; it hears of it within some seconds."""
    value = {"kind": "drain", **_DRAIN.dump_python(asked, mode="json")}
    await prefect.keep(_drain_name(app, asked.worker), value, [_TAG, names.app_tag(app)])


async def resume(prefect: RunStore, app: str, worker: str) -> None:
    """Let a drained worker take runs again."""
    await prefect.forget(_drain_name(app, worker))


async def living(prefect: RunStore, pool: str) -> list[Worker]:
    """A pool's workers, without those that went silent while others were heard of.

    Prefect calls a worker online for 90 s after its last word, also one that was stopped.
    """
    found = await prefect.workers(pool, online=True)
    return heard_lately(found)


async def has_host(prefect: RunStore, app: str, label: str) -> bool:
    """Tell whether a worker lives, and takes runs, on a host with a label."""
    known = await read_fleet(prefect, app)
    alive = {w.name for w in await living(prefect, names.agents_pool(app))}
    return any(
        label in worker.labels and worker.pool_name in alive and name not in known.drains
        for name, worker in known.workers.items()
    )


def heard_lately(workers: Sequence[Worker]) -> list[Worker]:
    """Those of some workers that were heard of about as lately as the newest; no clock is asked."""
    heard = [w.last_heartbeat_time for w in workers if w.last_heartbeat_time is not None]
    since = max(heard) - _LONGEST_SILENCE if heard else None
    return [
        w
        for w in workers
        if since is None or w.last_heartbeat_time is None or w.last_heartbeat_time >= since
    ]


def _without_kind(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said for key, said in value.items() if key != "kind"}


def _entry_name(app: str, worker: str) -> str:
    return f"athanore-worker-{_digest(app, worker)}"


def _drain_name(app: str, worker: str) -> str:
    return f"athanore-drain-{_digest(app, worker)}"


def _digest(app: str, worker: str) -> str:
    # Prefect takes short names of few characters only.
    return sha256(f"{app}\0{worker}".encode()).hexdigest()[:32]
