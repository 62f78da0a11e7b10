"""Telling the worker of an agent, which may be another process, that the agent has called."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from uuid import UUID

from cachetools import TTLCache
from prefect.settings import get_current_settings

from athanore.runs.events import activity
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes, called

_REMEMBERED = 1000
_SHARE = 3  # notes in a stall_timeout


class Activity:
    """Notes the calls of agents, seldom enough to cost nothing."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._noted: TTLCache[UUID, float] = TTLCache(_REMEMBERED, ttl=86400)

    def note(self, routes: Routes, route: str, run_id: UUID, task_id: str) -> None:
        """Note a call of the agent of a run."""
        self._app.local_runs.touch(run_id)
        known = called(routes, route)
        limit: timedelta | None = None if known is None else known.route.stall_timeout
        here = self._app.local_runs.is_running(run_id)
        if limit is None or here or not get_current_settings().api.url:
            return
        last = self._noted.get(run_id)
        if last is None or monotonic() - last >= limit.total_seconds() / _SHARE:
            self._noted[run_id] = monotonic()
            activity.note_call(self._app.name, run_id, task_id)
