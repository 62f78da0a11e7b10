"""Seeing that the board has changed, and having seen to what the change concerns."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from athanore import names
from athanore.errors import BoardError
from athanore.models import Task
from athanore.queue_adapters.base import HasStampInterval
from athanore.routing.routes import Route
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.boards.own_changes import OwnChanges
from athanore.runtime.routes.ownership import watched
from athanore.runtime.routes.route_registry import Routes
from athanore.services.holds import Holds
from athanore.services.owners import owners
from athanore.services.wakeups import poll_soon

logger = logging.getLogger("athanore.worker")

_LOOK_EVERY = timedelta(seconds=0.2)
_POLL_AT_MOST_EVERY = 1.0
_SHARE = 10
"""Looking takes at most one part in so many of a processor's time, however large the board is and
however many workers watch it."""


@dataclass(frozen=True, slots=True)
class View:
    """What a route has on the board: the tasks that it takes, and those that are in progress.

    `held` are those of its tasks that wait for others to end.
    """

    ready: frozenset[str] = frozenset()
    in_progress: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()

    def digest(self) -> str:
        """What tells what a poll would find from other findings, in every process."""
        text = repr((sorted(self.ready), sorted(self.held)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Look:
    """The board at one moment, as far as it is watched."""

    stamp: Hashable | None = None
    views: Mapping[str, View] = field(default_factory=dict[str, View])


def is_to_poll(before: View, after: View, route: Route, own: OwnChanges) -> bool:
    """Tell whether somebody else has changed what a poll of a route would find.

    A claim of whatever worker is none: the task goes from the route's queue to its in-progress one.
    """
    came = (own.queue_of(t) != route.queue_name for t in after.ready - before.ready)
    left = (
        own.queue_of(t) in (None, route.queue_name)
        for t in before.ready - after.ready - after.in_progress
    )
    let_go = (before.held - after.held) & after.ready  # also by an end that is our own doing
    return any(came) or any(left) or bool(let_go)


def is_taken(before: View, after: View, route: Route, own: OwnChanges) -> bool:
    """Tell whether somebody else has taken a task away from where a route's agents work on it."""
    return any(
        own.queue_of(t) in (None, route.in_progress_queue)
        for t in before.in_progress - after.in_progress
    )


class BoardWatch:
    """Watches the board of one app by its change stamp.

    Args:
        woken: called when a poll was created that is due now.
        taken: called when somebody has taken a task from the queue of what is in progress.
        sharing: tells how many workers watch the board: each looks the less often.
        now: the time in seconds, for tests.
    """

    def __init__(
        self,
        prefect: RunStore,
        app: App,
        woken: Callable[[], None],
        taken: Callable[[], None],
        sharing: Callable[[], int] = lambda: 1,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._prefect = prefect
        self._app = app
        self._woken = woken
        self._taken = taken
        self._sharing = sharing
        self._now = now
        self._seen: Look | None = None
        self._is_whole = True  # the last reading: each card that had to be read could be
        self._due: dict[str, str] = {}
        self._polled_at: dict[str, float] = {}

    async def begin(self) -> None:
        """Remember what there is before the first poll looks, so that nothing falls in between."""
        with suppress(BoardError):
            if self._app.board.has_stamp:
                await self.look()

    async def watch(self) -> None:
        """Look again and again; runs until cancelled, or returns where there is nothing to see."""
        adapter = self._app.board.adapter
        if not self._app.board.has_stamp:
            return
        every = _LOOK_EVERY
        if isinstance(adapter, HasStampInterval):
            every = max(every, adapter.stamp_interval)
        while True:
            began = self._now()
            try:
                await self.look()
            except BoardError as exc:  # polls say so, where people see it
                logger.debug("The board cannot be watched now: %s", exc)
            await asyncio.sleep(max(every.total_seconds(), self.rest(self._now() - began)))

    def rest(self, spent: float) -> float:
        """Seconds until the next look at least, after one that took so many."""
        # Several workers do not look at the same time for ever.
        return spent * _SHARE * max(1, self._sharing()) * random.uniform(0.8, 1.0)

    async def look(self) -> None:
        """See whether the board has changed, and have polled what is due.

        The first look has each route polled that has tasks ready: they may have come while no
        worker watched, and the next poll by the clock may be far away.
        """
        # Before the reading: what changes meanwhile makes another stamp.
        stamp = await self._app.board.change_stamp()
        if self._seen is None or stamp not in (None, self._seen.stamp):
            await self._compare(stamp)
        await self._poll()

    async def _compare(self, stamp: Hashable | None) -> None:
        routes = await self._app.routes.read(self._prefect)
        queues = [*watched(routes), *(k.route.in_progress_queue for k in routes.values())]
        tasks, _ = await self._app.board.tasks_there(queues)
        views = await self._views(routes, tasks)
        # What could not be read is looked at again, though the board does not change.
        look = Look(stamp if self._is_whole else None, views)
        own = self._app.board.own_changes
        for name, view in look.views.items():
            before, route = None, routes[name].route
            if self._seen is not None:
                before = self._seen.views.get(name)
                is_due = before is not None and is_to_poll(before, view, route, own)
            else:
                is_due = bool(view.ready)
            if is_due:
                self._due[name] = f"{_digest(stamp)}-{view.digest()}"
            if before is not None and is_taken(before, view, route, own):
                self._taken()
        own.seen({t.id: t.queue_name for t in tasks})
        self._seen = look

    async def _views(self, routes: Routes, tasks: Sequence[Task]) -> dict[str, View]:
        """What each route has on the board."""
        in_queue: dict[str, list[Task]] = {}
        for task in tasks:
            in_queue.setdefault(task.queue_name, []).append(task)
        waiting = [t for queue in watched(routes) for t in in_queue.get(queue, ())]
        owned = await owners(self._app, routes, waiting)
        self._is_whole = not owned.unread
        ready: dict[str, set[str]] = {}
        for task_id, name in owned.routes.items():
            ready.setdefault(name, set()).add(task_id)
        holds = Holds(self._app, routes)
        holds.has_read(tasks)
        held = {
            t.id
            for t in waiting
            if (name := owned.routes.get(t.id)) is not None
            and await holds.of(routes[name].route, t) is not None
        }
        return {
            name: View(
                frozenset(mine := ready.get(name, set())),
                frozenset(t.id for t in in_queue.get(known.route.in_progress_queue, ())),
                frozenset(held & mine),
            )
            for name, known in routes.items()
        }

    async def _poll(self) -> None:
        """Have routes polled whose view has changed, each at most once a second."""
        now = self._now()
        for name, change in list(self._due.items()):
            if now - self._polled_at.get(name, now - _POLL_AT_MOST_EVERY) < _POLL_AT_MOST_EVERY:
                continue
            if await poll_soon(
                self._prefect,
                self._app.name,
                name,
                change=change,
                at=self._app.clock.now(),
                name=names.CHANGE_POLL,
            ):
                self._woken()
            self._polled_at[name] = now
            del self._due[name]


def _digest(stamp: Hashable) -> str:
    return hashlib.sha256(repr(stamp).encode()).hexdigest()[:16]
