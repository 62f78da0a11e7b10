"""Polls that would find what the last one has found: they are noted as unchanged, many at once.

A whole poll is a flow run with three states and some ten requests. One of a board that has not
changed since is set to its end in one request together with those of other routes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore.errors import BoardError
from athanore.flows.conflicts import rivals
from athanore.queue_adapters.base import HasStampInterval
from athanore.runs import clearing, store
from athanore.runs.capacity.pausing import RESUME
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.registry import app_of_run

logger = logging.getLogger("athanore.worker")

AHEAD = timedelta(seconds=5)
"""How long before its time a poll may be noted as unchanged, beside one that is due."""

LATE = timedelta(seconds=10)
"""A poll that is later is whole: its worker was away."""


class UnchangedPolls:
    """Tells which polls would find nothing new, and ends them.

    Args:
        prefect: gives the worker's way to Prefect.
        apps: gives the apps that the worker serves.
        now: tells the time of day at Prefect.
    """

    def __init__(
        self,
        prefect: Callable[[], RunStore],
        apps: Callable[[], Sequence[App]],
        now: Callable[[], datetime],
    ) -> None:
        self._prefect = prefect
        self._apps = apps
        self._now = now

    def may_be(self, run: FlowRun) -> bool:
        """Tell whether a poll may be one, as far as is known without asking anybody.

        Only those of a schedule may: whoever else has a route polled has a reason.
        """
        app = self._app(run)
        return (
            app is not None
            and bool(run.auto_scheduled)
            and not run.parameters.get(RESUME)
            and app.noted.is_swept  # else the polls look after the app's runs
            and app.whole_polls.is_known(store.route_name(run))
            and not isinstance(app.board.adapter, HasStampInterval)  # a stamp costs a request there
        )

    async def complete(self, polls: Sequence[FlowRun]) -> set[UUID]:
        """End those of some polls that would find nothing new; return their ids.

        Args:
            polls: due now, or within `AHEAD`.
        """
        found: list[FlowRun] = []
        for app in self._apps():
            mine = [r for r in polls if self._app(r) is app and self.may_be(r)]
            found += await self._unchanged(app, mine) if mine else []
        if not found:
            return set()
        return await clearing.complete_unchanged(self._prefect(), found)

    async def _unchanged(self, app: App, polls: Iterable[FlowRun]) -> list[FlowRun]:
        try:
            stamp = await app.board.change_stamp()
        except BoardError as exc:
            logger.debug("The board is looked at by whole polls: %s", exc)
            return []
        prefect, now = self._prefect(), self._now()
        routes = await app.routes.read(prefect)
        found: list[FlowRun] = []
        for poll in polls:
            name = store.route_name(poll)
            due = poll.next_scheduled_start_time or poll.expected_start_time
            if due is None or not now - LATE < due <= now + AHEAD:
                continue
            if not app.whole_polls.is_unchanged(name, stamp, routes):
                continue
            # That somebody else watches the queue is no change of the board; the poll says so.
            if await rivals(prefect, app, routes[name].route):
                app.whole_polls.began(name)
                app.noted.looked_for_rivals.pop(name, None)
                continue
            found.append(poll)
        return found

    def _app(self, run: FlowRun) -> App | None:
        return app_of_run(self._apps(), run.tags, str(run.parameters.get("app")))
