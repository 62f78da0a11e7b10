"""What Prefect says of the app, read for all who show it, and kept for a moment.

The page and the list of tasks share it. What changes seldom is read every five seconds at most;
of more than 200 open runs those that wait every ten to thirty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from athanore.api.memory.kept import Kept
from athanore.api.prefect.link import PrefectLink
from athanore.errors import PrefectUnavailableError
from athanore.models import Task
from athanore.runs import open_runs
from athanore.runs.kept import questions
from athanore.runs.open_runs import OpenRuns
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes
from athanore.services.holds import Holds
from athanore.services.status import reasons
from athanore.services.status.machinery import Machinery, look_at_machinery
from athanore.services.status.reasons import Explanation, Known

_MACHINERY_SECONDS = 5.0
_LIST_SECONDS = 2.0
_LIST_PATIENCE = 2.0
_FRESH_FOR_COST = 4  # times as long as it took to read
_PICTURE_SECONDS = 60.0
_WAITING_SECONDS = 10.0
_WAITING_FOR_COST = 20  # times as long as it took to read
_WAITING_AT_MOST = 30.0
_MOST = 2000
"""Of how many tasks of a list the reasons are told."""


class Seen:
    """Reads what the reasons of tasks need, one reading at a time."""

    def __init__(self, app: App, prefect: PrefectLink) -> None:
        self._app = app
        self._prefect = prefect
        self._lock = asyncio.Lock()
        self._machinery: Kept[Machinery] = Kept(_MACHINERY_SECONDS)
        self._last: tuple[float, float, frozenset[str], Known] | None = None
        self._waiting: tuple[float, dict[str, str], OpenRuns] | None = None
        self._changes = 0

    async def read(self, tasks: Sequence[Task], max_age: float = 0.0) -> Known:
        """Return what is known of the app, with the runs of these tasks.

        Args:
            max_age: seconds; what was read for somebody else may be so old.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        wanted = frozenset(t.id for t in tasks)
        async with self._lock:
            if self._last is not None:
                read_at, cost, ids, known = self._last
                age, is_enough = monotonic() - read_at, known.runs.is_whole or wanted <= ids
                if max_age and is_enough and age < max(max_age, cost * _FRESH_FOR_COST):
                    return known
            began, changes = monotonic(), self._changes
            known = await self._read(tasks)
            if changes == self._changes:
                self._last = (began, monotonic() - began, wanted, known)
            return known

    async def whys(self, tasks: Sequence[Task], *, all_open: bool) -> dict[str, Explanation]:
        """Say of the tasks of a list why they wait, by their ids; of none if Prefect is slow.

        Args:
            tasks: as they were just read.
            all_open: these are all open tasks of the board.
        """
        reading = asyncio.create_task(self.read(tasks[:_MOST], _LIST_SECONDS), name="whys of tasks")
        reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        done, _ = await asyncio.wait({reading}, timeout=_LIST_PATIENCE)
        try:
            known = reading.result() if done else None
        except PrefectUnavailableError:
            known = None
        if known is None:
            return {}
        holds = Holds(self._app, known.routes, reads=False)
        holds.has_read(tasks)
        if not all_open and any(k.route.respect_blockers for k in known.routes.values()):
            holds.has_read((await self._app.view.read(_PICTURE_SECONDS)).tasks)
        return await reasons.of_tasks(known, tasks[:_MOST], holds, whole=False)

    def outdated(self) -> None:
        """Have the next reader see what was changed just now."""
        self._changes += 1
        self._last = self._waiting = None
        self._machinery.forget()

    async def _read(self, tasks: Sequence[Task]) -> Known:
        """Ask in two steps: each has a patience of its own, so that none takes the other's."""
        app = self._app
        async with self._prefect.client() as client:
            routes = await app.routes.read(client)
            runs = await self._read_runs(client, tasks)
        async with self._prefect.client() as client:
            machinery = await self._machinery.get(
                _what_it_is_of(routes, runs), lambda: look_at_machinery(client, app, routes)
            )
        return Known(app, routes, runs, machinery)

    async def _read_runs(self, client: PrefectRunStore, tasks: Sequence[Task]) -> OpenRuns:
        """Read the runs that work, and those that wait: where these are many only now and then.

        Those of a task that is in another queue than before are read anew: they may have ended.
        """
        app, began, changes = self._app.name, monotonic(), self._changes
        places = {t.id: t.queue_name for t in tasks}
        if self._waiting is not None and began < self._waiting[0]:
            until, known, before = self._waiting
            moved = [t for t, queue in places.items() if known.get(t) != queue]
            runs = await open_runs.renewed(client, app, before, moved)
            kept = until, known | places, runs
        else:
            runs = await open_runs.of_tasks(client, app, places)
            now = monotonic()
            age = max(_WAITING_SECONDS, _WAITING_FOR_COST * (now - began))
            until = now + min(age, _WAITING_AT_MOST)
            kept = None if runs.is_whole else (until, places, runs)
        if changes == self._changes:  # else something was changed meanwhile
            self._waiting = kept
        return runs


def _what_it_is_of(routes: Routes, runs: OpenRuns) -> object:
    """It is read anew for other routes, and for other runs that wait for an answer."""
    asking = frozenset(r.id for r in runs.by_task.values() if questions.waits_for(r) is not None)
    return tuple(routes), asking
