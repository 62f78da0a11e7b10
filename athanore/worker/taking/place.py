"""A worker's place among the others of its app: what it may take, and when it leaves that to them.

Every worker says in Prefect how many agents it has and takes (`runs.capacity.fleet`), and looks
every few seconds at what the others say, and whether a person has drained it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import psutil
from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.processes import cgroup
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import Fleet, WorkerEntry
from athanore.runs.events import shapes
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.texts import duration
from athanore.worker.taking.courtesy import Courtesy, Load
from athanore.worker.taking.offers import PAGE
from athanore.workspaces.folders import TaskFolders

logger = logging.getLogger("athanore.worker")

LOOK_EVERY = 5.0
"""Seconds from one look at the other workers to the next."""

_NEXT = timedelta(seconds=0.1)
"""When a worker that took one of several runs looks again, beside others."""

_BESIDE_OTHERS = 10
"""For so many runs it asks there: an answer costs Prefect the more, the more runs it has."""

LOST_STAYS = 3600.0
"""Seconds for which a worker that is not heard of any more is listed; then it is forgotten."""

_MEGABYTE = 1024 * 1024


class Place:
    """What an agents' worker may take now.

    Args:
        app: whose worker it is.
        pool_name: what Prefect calls it.
        agents: tells how many agents it has.
        limit: how many it takes at once; None for no limit of its own.
        labels: what kind of host it is on.
        min_free_memory: bytes below which it takes nothing more; 0 for no such bound.
        free_memory: tells how many bytes are free.
        min_free_disk: the same of each disk where agents work.
        free_disk: tells how many bytes are free, and in which folder.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        app: App,
        pool_name: str,
        agents: Callable[[], int],
        *,
        limit: int | None = None,
        labels: Sequence[str] = (),
        min_free_memory: int = 0,
        free_memory: Callable[[], int] | None = None,
        min_free_disk: int = 0,
        free_disk: Callable[[], tuple[int, Path]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._agents = agents
        self._min_free_memory = min_free_memory
        self._free_memory = free_memory or _free_memory
        self._min_free_disk = min_free_disk
        self._free_disk = free_disk or (lambda: least_free(app))
        self._monotonic = monotonic
        self._entry = WorkerEntry(
            name=names.short_worker_name(pool_name, app.name),
            pool_name=pool_name,
            host=socket.gethostname(),
            started_at=app.clock.now(),
            labels=tuple(labels),
            limit=limit,
            version=app.version,
        )
        self._said: WorkerEntry | None = None
        self.living: Sequence[WorkerEntry] = ()
        self._others: tuple[WorkerEntry, ...] = ()
        self._is_drained = False
        self._courtesy = Courtesy()
        self._silent_since: dict[str, float] = {}
        self._lost: set[str] = set()
        self._pool_name = pool_name

    @property
    def is_full(self) -> bool:
        """Whether the worker takes nothing now, whatever the others have."""
        limit = self._entry.limit
        return (
            self._is_drained
            or bool(self._short_of())
            or (limit is not None and self._agents() >= limit)
        )

    def asks_for(self) -> tuple[int, int]:
        """For how many runs the worker asks, no more than it has room for, and how many will do.

        Beside others it takes one at a time, and needs to know whether there are more.
        """
        limit = self._entry.limit
        room = PAGE if limit is None else max(1, min(PAGE, limit - self._agents()))
        return (min(room, _BESIDE_OTHERS), min(room, 2)) if self._others else (room, room)

    def take(self, offered: Sequence[FlowRun]) -> tuple[Sequence[FlowRun], timedelta | None]:
        """Say which of the runs that are offered the worker takes now, and when it looks again.

        Alone it takes all for which it has room. Beside others it takes one at a time, and leaves
        each to those that have fewer agents for a while, so that they share what there is.

        Returns:
            The runs, and after what time it looks again for the rest; None if there is no need to.
        """
        if self.is_full:
            self._courtesy.forget()
            return (), None
        now = self._monotonic()
        self._courtesy.sees([run.id for run in offered], now)
        own = Load(self._agents(), self._entry.limit)
        if not offered or not self._others:
            return offered if own.limit is None else offered[: own.limit - own.agents], None
        others = self._who_may_take(offered[0])
        run = self._mine(offered, others, now)
        loads = [Load(other.agents, other.limit) for other in others]
        if wait := self._courtesy.wait(run.id, own, loads, now):
            return (), timedelta(seconds=wait)
        self._courtesy.takes(run.id, now)
        return (run,), _NEXT if len(offered) > 1 else None

    def _mine(
        self, offered: Sequence[FlowRun], others: Sequence[WorkerEntry], now: float
    ) -> FlowRun:
        """The run for this worker to take: not the one that each of the others would take, too.

        It is one of those that come first, of the same priority.
        """
        first = offered[0]
        if self._courtesy.is_overdue(first.id, now):
            return first
        equal = list(takewhile(lambda run: run.work_queue_id == first.work_queue_id, offered))
        place = sum(other.name < self._entry.name for other in others)
        return equal[min(place, len(equal) - 1)]

    def _who_may_take(self, run: FlowRun) -> list[WorkerEntry]:
        """The others that have room, on hosts of the kind that the run's route wants."""
        known = self._app.routes.remembered().get(names.route_of(run.parameters))
        if known is None:
            return list(self._others)
        return [other for other in self._others if known.route.is_for_host(other.labels)]

    def _short_of(self) -> str:
        """Say of what the host has too little for another agent; nothing if of nothing."""
        if self._min_free_memory and (free := self._free_memory()) < self._min_free_memory:
            return (
                f"{free // _MEGABYTE} MB of memory are free, below min_free_memory="
                f"{self._min_free_memory // _MEGABYTE}"
            )
        if self._min_free_disk:
            free, folder = self._free_disk()
            if free < self._min_free_disk:
                return (
                    f"{free // _MEGABYTE} MB of the disk are free at {folder}, below "
                    f"min_free_disk={self._min_free_disk // _MEGABYTE}"
                )
        return ""

    async def keep(
        self, client: PrefectRunStore, resumed: Callable[[], None], leave: Callable[[], object]
    ) -> None:
        """Tell the others of the worker and hear of them; runs until cancelled.

        Args:
            resumed: called when the worker may take runs again.
            leave: called once when it was asked to end, and has no agent any more.
        """
        asked_to_leave = False
        while True:
            was_full = self.is_full
            try:
                drain = await self.look(client)
            except Exception as exc:
                logger.debug("The other workers could not be looked at: %s", exc)
            else:
                if drain is not None and drain.then_exit and not self._agents():
                    if not asked_to_leave:
                        leave()
                    asked_to_leave = True
                if was_full and not self.is_full:
                    resumed()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, client: PrefectRunStore) -> fleet.Drain | None:
        """Hear once what there is to hear, and say what is new; returns its drain, if any."""
        known = await fleet.read_fleet(client, self._app.name)
        drain = known.drains.get(self._entry.name)
        if drain is not None and self._said is None:  # of an earlier process of the same name
            await fleet.resume(client, self._app.name, self._entry.name)
            drain = None
        if (drain is not None) != self._is_drained:
            self._is_drained = drain is not None
            self._tell(drain)
        self._others = await self._find_others(client, known)
        self._courtesy.heard()
        offset = time.time() - self._app.clock.now().timestamp()
        now = replace(
            self._entry,
            agents=self._agents(),
            full=self._short_of(),
            clock_offset=float(round(offset)),
        )
        if now != self._said or self._entry.name not in known.workers:
            if now.full and (self._said is None or not self._said.full):
                logger.warning(
                    "No agent is started here now: %s.", now.full, extra={"action": "host_full"}
                )
            await fleet.announce(client, self._app.name, now)
            self._said = now
        return drain

    def _tell(self, drain: fleet.Drain | None) -> None:
        if drain is None:
            logger.info("This worker takes runs again.", extra={"action": "worker_resumed"})
            return
        logger.info(
            "This worker takes no new runs; %s asked for it. %s",
            drain.by or "somebody",
            f"It ends when its {self._agents()} agents have."
            if drain.then_exit
            else f"`athanore worker resume {self._entry.name}` lets it go on.",
            extra={"action": "worker_drained"},
        )

    async def _find_others(self, client: PrefectRunStore, known: Fleet) -> tuple[WorkerEntry, ...]:
        """Those that live and have room.

        Prefect is asked who lives only where others said something.
        """
        others = {w.pool_name: w for w in known.workers.values() if w.name != self._entry.name}
        if not others:
            self.living = ()
            return ()
        alive = await fleet.living(client, names.agents_pool(self._app.name))
        silent = others.keys() - {w.name for w in alive}
        # One tells it for all of them, and none that was lost itself.
        there = [w.name for w in alive if w.name not in self._lost]
        self._tell_lost(silent, others, tells=all(self._pool_name <= name for name in there))
        await self._forget_lost(client, silent, others)
        self.living = tuple(
            other
            for worker in alive
            if (other := others.get(worker.name)) is not None and other.name not in known.drains
        )
        return tuple(other for other in self.living if other.has_room)

    async def who_lives(self, client: PrefectRunStore) -> tuple[WorkerEntry, ...]:
        """The others that live and take runs, asked just now."""
        known = await fleet.read_fleet(client, self._app.name)
        alive = {w.name for w in await fleet.living(client, names.agents_pool(self._app.name))}
        return tuple(
            worker
            for worker in known.workers.values()
            if worker.pool_name in alive
            and worker.name not in known.drains
            and worker.name != self._entry.name
        )

    def _tell_lost(
        self, silent: Collection[str], known: Mapping[str, WorkerEntry], *, tells: bool
    ) -> None:
        """Tell by events of workers that have not been heard of for `worker_lost_after`, and back.

        A worker that ends by itself has removed what was noted of it before.
        """
        now, patience = self._monotonic(), self._app.dispatcher.settings.worker_lost_after
        self._silent_since = {name: self._silent_since.get(name, now) for name in silent}
        lost = {name for name, since in self._silent_since.items() if now - since > patience}
        app, said = self._app.name, duration(patience)
        for name in lost - self._lost if tells else ():
            worker = known[name]
            why = f"It was not heard of for {said}. Tasks of its agents go back to their queues."
            shapes.send_of_worker(shapes.WORKER_LOST, app, worker.name, why)
            logger.warning(
                "Worker %s on %s is lost: %s",
                worker.name,
                worker.host,
                why,
                extra={"action": "worker_lost"},
            )
        for name in self._lost - lost if tells else ():
            if name in known and name not in silent:
                why = "It is heard of again, and takes runs."
                shapes.send_of_worker(shapes.WORKER_BACK, app, known[name].name, why)
                logger.info("Worker %s is back.", known[name].name, extra={"action": "worker_back"})
        self._lost = lost

    async def _forget_lost(
        self,
        client: PrefectRunStore,
        silent: Collection[str],
        known: Mapping[str, WorkerEntry],
    ) -> None:
        """Remove what was noted of workers that were killed, when they have been gone for long."""
        now = self._monotonic()
        for name, since in self._silent_since.items():
            if now - since > LOST_STAYS:
                await fleet.forget_worker(client, self._app.name, known[name].name)

    async def end(self, client: PrefectRunStore) -> None:
        """Have the worker forgotten, when it ends."""
        await fleet.forget_worker(client, self._app.name, self._entry.name)


def place_of(
    apps: Sequence[App], pool: str, worker: str, agents: Callable[[], int], limit: int | None
) -> Place:
    """The place of a worker among the others of the app whose pool it serves.

    Args:
        worker: its name.
        limit: how many agents it takes, if it was started with a limit.
    """
    app = next((a for a in apps if names.agents_pool(a.name) == pool), apps[0])
    settings = app.dispatcher.settings
    return Place(
        app,
        worker,
        agents,
        limit=settings.worker_limit if limit is None else limit,
        labels=settings.labels,
        min_free_memory=settings.min_free_memory * _MEGABYTE,
        min_free_disk=settings.min_free_disk * _MEGABYTE,
    )


def _free_memory() -> int:
    """Bytes of free memory: of the host, or of the container or unit that the worker is in."""
    there, bound = psutil.virtual_memory().available, cgroup.free_memory()
    return there if bound is None else min(there, bound)


def least_free(app: App) -> tuple[int, Path]:
    """The least free bytes of the disks where agents of an app work, and a folder on that disk.

    These are the worker's folder and those that workspaces are made in.
    """
    spaces = [known.route.workspace for known in app.routes.remembered().values()]
    wanted = {Path.cwd(), *(s.folders for s in spaces if isinstance(s, TaskFolders))}
    there = {next(p for p in (f, *f.parents) if p.is_dir()) for f in wanted}
    return min((shutil.disk_usage(folder).free, folder) for folder in there)
