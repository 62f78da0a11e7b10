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

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.errors import RouteError
from athanore.routes import Route
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.homes import home_of
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.registry import app_of_run
from athanore.worker.polls import scheduled_time
from athanore.workspaces.base import StaysOnHost

type _Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(slots=True)
class ForeignRuns:
    """Finds them among the runs that Prefect offers, and says of each route once that it does.

    Args:
        apps: tells which apps the worker serves.
        others: tells which other workers live and take runs.
    """

    logger: _Logger
    apps: Callable[[], Sequence[App]]
    others: Callable[[], Sequence[WorkerEntry]] = tuple
    _said: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def among(self, client: PrefectRunStore, offered: Sequence[FlowRun]) -> list[FlowRun]:
        """Return the runs that are to be left alone; a run of another app is not among them."""
        return [run for run in offered if await self._is_foreign(client, run)]

    async def _is_foreign(self, client: PrefectRunStore, run: FlowRun) -> bool:
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
        return await self._is_at_home_elsewhere(client, app, found, run)

    async def _is_at_home_elsewhere(
        self, client: PrefectRunStore, app: App, route: Route, run: FlowRun
    ) -> bool:
        """Whether the task's folder is on another host, which lives and may take it."""
        provider = route.workspace
        if not isinstance(provider, StaysOnHost) or not provider.stays_on_host:
            return False
        here = socket.gethostname()
        hosts = {e.host for e in self.others() if route.is_for_host(e.labels)} - {here}
        return bool(hosts) and await home_of(client, app.name, run) in hosts


def older_polls(foreign: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """Of polls that are left alone, those that a newer one of their route stands for.

    A route that no worker has any more would otherwise fill what Prefect offers at a time. What
    somebody has started by hand waits for a worker that has the route.
    """
    due = sorted((r for r in foreign if scheduled_time(r) <= now), key=scheduled_time)
    newest = {run.deployment_id: run.id for run in due}
    older = [run for run in due if newest[run.deployment_id] != run.id]
    return [run for run in older if run.auto_scheduled]
