"""Runs that are not for this worker: it leaves them to the workers that they are for.

A route may want a host of a kind (`host=`), and its runs wait for a worker there. A task whose
folder is on another host alone waits for a worker of that host, as long as one lives.
While an app is upgraded, the workers that were not started again yet lack its new routes. Such a
run is not even taken: it costs no attempt, and a worker that has its route finds it at once.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.errors import RouteError
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.kept.homes import home_of
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.runtime.registry import app_of_run
from athanore.worker.poll_runs.polls import scheduled_time
from athanore.workspaces.base import StaysOnHost

type _Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class KnowsOthers(Protocol):
    """Who knows the other workers of an app; see `Place`."""

    @property
    def living(self) -> Sequence[WorkerEntry]:
        """Those that lived and took runs a moment ago."""
        ...

    async def who_lives(self, client: PrefectRunStore) -> Sequence[WorkerEntry]:
        """Those that do now: one may just have begun."""
        ...


@dataclass(slots=True)
class ForeignRuns:
    """Finds them among the runs that Prefect offers, and says of each route once that it does.

    Args:
        apps: tells which apps the worker serves.
        place: where the worker is among the others, once that is known.
    """

    logger: _Logger
    apps: Callable[[], Sequence[App]]
    place: Callable[[], KnowsOthers | None] = lambda: None
    _said: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def among(self, client: PrefectRunStore, offered: Sequence[FlowRun]) -> list[FlowRun]:
        """Return the runs that are to be left alone; a run of another app is not among them."""
        hosts = _Hosts(client, self.place())
        return [run for run in offered if await self._is_foreign(client, run, hosts)]

    async def _is_foreign(self, client: PrefectRunStore, run: FlowRun, hosts: _Hosts) -> bool:
        app = app_of_run(self.apps(), run.tags, str(run.parameters.get("app")))
        if app is None:
            return False
        if names.SCHEDULE_TAG in run.tags:
            return run.parameters.get("schedule") not in app.dispatcher.schedules
        route = (app.name, names.route_of(run.parameters))
        try:
            found = await app.routes.find(client, run.parameters)
        except RouteError as exc:
            if route not in self._said:
                self.logger.warning(
                    "%s Its runs are left to workers that have it.",
                    exc,
                    extra={"action": "route_unknown"},
                )
            self._said.add(route)
            return True
        self._said.discard(route)
        if names.POLL_TAG in run.tags:
            return False  # any worker may look at a queue
        if not found.is_for_host(app.dispatcher.settings.labels):
            return True
        return await self._is_at_home_elsewhere(client, app, found, run, hosts)

    async def _is_at_home_elsewhere(
        self, client: PrefectRunStore, app: App, route: Route, run: FlowRun, hosts: _Hosts
    ) -> bool:
        """Whether the task's folder is on another host, which lives and may take it."""
        provider = route.workspace
        if not isinstance(provider, StaysOnHost) or not provider.stays_on_host:
            return False
        is_first = store.visit_of(run) == store.FIRST_VISIT and not record_of(run).worker
        if is_first and not hosts.known:
            return False
        home = await home_of(client, app.name, run)
        return home not in ("", socket.gethostname()) and await hosts.take(home, route)


@dataclass(slots=True)
class _Hosts:
    """Which hosts may take runs of a route; asked once more if one is not among those known."""

    client: PrefectRunStore
    place: KnowsOthers | None
    _asked: Sequence[WorkerEntry] | None = None

    @property
    def known(self) -> Sequence[WorkerEntry]:
        return () if self.place is None else self.place.living

    async def take(self, host: str, route: Route) -> bool:
        if _is_among(host, route, self.known):
            return True
        if self._asked is None:
            self._asked = () if self.place is None else await self.place.who_lives(self.client)
        return _is_among(host, route, self._asked)


def _is_among(host: str, route: Route, workers: Sequence[WorkerEntry]) -> bool:
    return any(e.host == host and route.is_for_host(e.labels) for e in workers)


def older_polls(foreign: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """Of polls that are left alone, those that a newer one of their route stands for.

    A route that no worker has any more would otherwise fill what Prefect offers at a time. What
    somebody has started by hand waits for a worker that has the route.
    """
    due = sorted((r for r in foreign if scheduled_time(r) <= now), key=scheduled_time)
    newest = {run.deployment_id: run.id for run in due}
    older = [run for run in due if newest[run.deployment_id] != run.id]
    return [run for run in older if run.auto_scheduled]
