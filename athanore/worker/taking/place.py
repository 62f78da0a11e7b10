"""A worker's place among the others of its app: what it may take, and when it leaves that to them.

Every worker says in Prefect how many agents it has and takes (`runs.capacity.fleet`), and looks
every few seconds at what the others say, and whether a person has drained it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.runs import store
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import Fleet, WorkerEntry
from athanore.runs.port import RunStore
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.worker.taking.courtesy import Courtesy, Load, as_they_are_now
from athanore.worker.taking.host_room import HostRoom, host_room
from athanore.worker.taking.offers import PAGE
from athanore.worker.taking.silence import Silence

logger = logging.getLogger("athanore.worker")

LOOK_EVERY, _LOOK_AT_LEAST_EVERY = 5.0, 15.0
"""Seconds from one look at the other workers to the next: of few workers, and of many."""

_NEXT = 0.1
"""Seconds after which a worker that took some of several runs looks again, beside others."""

_TIMES_THE_ANSWER, _TIMES_WHERE_MANY_WAIT, _RESTS_AT_MOST = 5, 10, 4.0
"""A busy server answers slowly: it is asked again after so many times as that took, and by each of
more than four workers less often, up to so many seconds apart."""

_BESIDE_OTHERS, _FOR_EACH = 10, 4
"""For how many runs it asks there: at least, and for each worker. An answer costs Prefect the more,
the more runs it has."""

_FAREWELL = 2.0
"""Seconds in which a worker that ends says so, if it can."""

_EMPTY_LOOKS = 2
"""Beside others so many answers without a run mean that none is due: on PostgreSQL runs are hidden
from a worker for as long as another one's request for them takes."""


class Place:
    """What an agents' worker may take now.

    Args:
        app: whose worker it is.
        pool_name: what Prefect calls it.
        runs: tells the agent runs that it has.
        limit: how many it takes at once; None for no limit of its own.
        labels: what kind of host it is on.
        room: what its host needs to have left.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        app: App,
        pool_name: str,
        runs: Callable[[], Collection[UUID]],
        *,
        limit: int | None = None,
        labels: Sequence[str] = (),
        room: HostRoom,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._runs = runs
        self._room = room
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
        self._apart = 0
        self._asked_at = math.inf
        self._looks_again_at = self._rests_until = -math.inf
        self._empty_looks = 0
        self._silence = Silence(app, monotonic)
        self._pool_name = pool_name

    @property
    def _agents(self) -> int:
        return len(self._runs())

    @property
    def is_full(self) -> bool:
        """Whether the worker takes nothing now, whatever the others have."""
        limit = self._entry.limit
        return (
            self._is_drained
            or bool(self._room.short_of())
            or (limit is not None and self._agents >= limit)
        )

    def asks_for(self) -> tuple[int, int]:
        """For how many runs the worker asks, no more than it has room for, and how many will do.

        Beside others it takes some of them, and needs to know whether there are more.
        """
        self._asked_at = self._monotonic()
        limit = self._entry.limit
        room = PAGE if limit is None else max(1, min(PAGE, limit - self._agents))
        if not self._others:
            return room, room
        asked = min(room, max(_BESIDE_OTHERS, _FOR_EACH * (len(self._others) + 1)))
        return asked, min(room, 2)

    async def count_elsewhere(self, client: RunStore, offered: Sequence[FlowRun]) -> int | None:
        """How many agents the other workers have now; None where nothing has to be shared."""
        if not offered or not self._others:
            return None
        return await store.count_taken(client, self._app.name, but=self._runs())

    def take(
        self, offered: Sequence[FlowRun], elsewhere: int | None = None, are_more: bool = False
    ) -> tuple[Sequence[FlowRun], timedelta | None]:
        """Say which of the runs that are offered the worker takes now, and when it looks again.

        Alone it takes all for which it has room. Beside others it takes those that fall to it, and
        leaves the rest to them for a while, so that they share what there is.

        Args:
            elsewhere: see `count_elsewhere`; without it counts what the others said last.
            are_more: Prefect has more to offer.

        Returns:
            The runs, and after what time it looks again for the rest; None if there is no need to.
        """
        self._looks_again_at = self._rests_until = -math.inf
        if self.is_full:
            self._courtesy.forget()
            return (), None
        now = self._monotonic()
        self._courtesy.sees([run.id for run in offered], now)
        own = Load(self._entry.name, self._agents, self._entry.limit)
        if not self._others:
            return offered if own.limit is None else offered[: own.limit - own.agents], None
        times = _TIMES_WHERE_MANY_WAIT if are_more else _TIMES_THE_ANSWER
        workers = len(self._others) + 1
        pause = fleet.interval(times * (now - self._asked_at), workers, _RESTS_AT_MOST)
        self._rests_until = now + pause
        every = max(_NEXT, pause)
        taken: list[FlowRun] = []
        soonest: float | None = None
        for others, runs in self._by_takers(offered, elsewhere):
            mine = replace(own, agents=own.agents + len(taken))
            chosen, wait = self._courtesy.choose([run.id for run in runs], mine, others, now, every)
            taken += [run for run in runs if run.id in chosen]
            if wait is not None:
                soonest = wait if soonest is None else min(soonest, wait)
        if offered:
            self._empty_looks = _EMPTY_LOOKS
        if are_more:
            again = every
        elif soonest is not None:
            again = max(soonest, every)
        elif not offered and self._empty_looks:
            self._empty_looks -= 1
            again = every
        else:
            return taken, None
        self._looks_again_at = now + again
        return taken, timedelta(seconds=again)

    def expects_runs(self) -> None:
        """Hear that runs have become due."""
        self._empty_looks = _EMPTY_LOOKS

    @property
    def looks_again(self) -> bool:
        """Whether more is offered than the worker takes now, and it is going to look again."""
        return self._monotonic() < self._looks_again_at

    @property
    def rest(self) -> timedelta:
        """How long a run that arrives waits at present until the worker looks: beside others."""
        return timedelta(seconds=max(0.0, self._rests_until - self._monotonic()))

    def _by_takers(
        self, offered: Sequence[FlowRun], elsewhere: int | None
    ) -> Iterable[tuple[Sequence[Load], Sequence[FlowRun]]]:
        """The runs that the same other workers may take, with these."""
        said = [Load(other.name, other.agents, other.limit) for other in self._others]
        have = sum(load.agents for load in said)
        if elsewhere is not None:
            have = max(0, elsewhere - self._apart)
        loads = {load.worker: load for load in as_they_are_now(said, have)}
        found: dict[tuple[str, ...], list[FlowRun]] = {}
        for run in offered:
            takers = tuple(o.name for o in self._who_may_take(run) if o.name in loads)
            found.setdefault(takers, []).append(run)
        for takers, runs in found.items():
            yield [loads[name] for name in takers], runs

    def _who_may_take(self, run: FlowRun) -> list[WorkerEntry]:
        """The others that have room, on hosts of the kind that the run's route wants."""
        known = self._app.routes.remembered().get(names.route_of(run.parameters))
        if known is None:
            return list(self._others)
        return [other for other in self._others if known.route.is_for_host(other.labels)]

    async def keep(
        self, client: PrefectRunStore, resumed: Callable[[], None], leave: Callable[[], object]
    ) -> None:
        """Tell the others of the worker and hear of them; runs until cancelled.

        Args:
            resumed: called when the worker may take runs again.
            leave: called once when it was asked to end, and has no agent any more.
        """
        asked_to_leave = was_full = False
        while True:
            try:
                drain = await self.look(client)
            except Exception as exc:
                logger.debug("The other workers could not be looked at: %s", exc)
            else:
                if drain is not None and drain.then_exit and not self._agents:
                    if not asked_to_leave:
                        leave()
                    asked_to_leave = True
                if was_full and not self.is_full:
                    resumed()
            was_full = self.is_full
            await asyncio.sleep(self.looks_every)

    @property
    def looks_every(self) -> float:
        """Seconds from one look at the others to the next."""
        return fleet.interval(LOOK_EVERY, len(self.living) + 1, _LOOK_AT_LEAST_EVERY)

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
            agents=self._agents,
            full=self._room.short_of(),
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
            f"It ends when its {self._agents} agents have."
            if drain.then_exit
            else f"`athanore worker resume {self._entry.name}` lets it go on.",
            extra={"action": "worker_drained"},
        )

    async def _find_others(self, client: PrefectRunStore, known: Fleet) -> tuple[WorkerEntry, ...]:
        """Those that live and have room.

        Prefect is asked who lives only where others said something.
        """
        others = {w.pool_name: w for w in known.workers.values() if w.name != self._entry.name}
        self._apart = 0
        if not others:
            self.living = ()
            return ()
        alive = await fleet.living(client, names.agents_pool(self._app.name))
        silent = others.keys() - {w.name for w in alive}
        # One tells it for all of them, and none that was lost itself.
        there = [w.name for w in alive if w.name not in self._silence.lost]
        tells = all(self._pool_name <= name for name in there)
        await self._silence.hears(client, silent, others, tells=tells)
        self.living = tuple(
            other
            for worker in alive
            if (other := others.get(worker.name)) is not None and other.name not in known.drains
        )
        with_room = tuple(other for other in self.living if other.has_room)
        self._apart = sum(
            other.agents
            for other in others.values()
            if other not in with_room and other.name not in self._silence.lost
        )
        return with_room

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

    async def leaves(self, client: PrefectRunStore) -> None:
        """Tell the others that the worker shuts down, so that they wait for it with nothing."""
        if self._agents:
            name, now = self._entry.name, self._app.clock.now()
            drain = fleet.Drain(name, now, "its shutdown", then_exit=True)
            await _in_time(fleet.drain(client, self._app.name, drain))

    async def end(self, client: PrefectRunStore) -> None:
        """Have the worker forgotten, when it ends."""
        await _in_time(fleet.forget_worker(client, self._app.name, self._entry.name))


async def _in_time(said: Awaitable[None]) -> None:
    """Say something to Prefect if it is there: else a later look tells it from those that live."""
    with suppress(Exception):
        async with asyncio.timeout(_FAREWELL):
            await said


def place_of(
    apps: Sequence[App],
    pool: str,
    worker: str,
    runs: Callable[[], Collection[UUID]],
    limit: int | None,
) -> Place:
    """The place of a worker among the others of the app whose pool it serves.

    Args:
        worker: its name.
        runs: tells the agent runs that it has.
        limit: how many agents it takes, if it was started with a limit.
    """
    app = next((a for a in apps if names.agents_pool(a.name) == pool), apps[0])
    settings = app.dispatcher.settings
    return Place(
        app,
        worker,
        runs,
        limit=settings.worker_limit if limit is None else limit,
        labels=settings.labels,
        room=host_room(app),
    )
