"""Having a route polled before its time, because something has changed."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.routing.routes import Route
from athanore.runs.capacity import label_caps
from athanore.runs.port import NewRun, RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App

logger = logging.getLogger("athanore")

_ENDS_WITHIN = timedelta(seconds=1)
"""In which a run that is about to end has done so."""


async def poll_soon(
    prefect: RunStore,
    app: str,
    route: str,
    *,
    change: str,
    at: datetime,
    name: str,
    newer_than: datetime | None = None,
) -> bool:
    """Create a poll run of a route; False if the route is paused, or not deployed.

    Args:
        change: what tells the change from others; whoever has the route polled for the same one,
            in whatever process, gets the same run.
        at: when it is due.
        name: how the run is called in Prefect.
        newer_than: no reading of the board from before that moment answers the poll.
    """
    try:
        deployed_as = f"{names.POLL_FLOW}/{names.deployment_name(app, route)}"
        deployment = await prefect.deployment(deployed_as)
    except ObjectNotFound:
        return False
    if deployment.paused:
        return False
    await prefect.create(
        deployment.id,
        NewRun(
            name=name,
            due=at,
            parameters={} if newer_than is None else {names.NEWER_THAN: newer_than.isoformat()},
            key=names.poll_key(app, route, f"{deployment.id}/{change}"),
        ),
    )
    return True


async def label_is_free(prefect: RunStore, app: App, route: Route, run: FlowRun) -> None:
    """Have the routes polled whose tasks may have waited for the label of a run that ends.

    That it fails keeps no run from its end: the next polls find the tasks.
    """
    if not route.label_limits or not (labels := label_caps.labels_of(run)):
        return
    at = app.clock.now() + _ENDS_WITHIN
    change = f"label/{run.id}/{record_of(run).starts}"
    try:
        for name, known in (await app.routes.read(prefect)).items():
            if known.route.label_limits.keys() & set(labels):
                await poll_soon(prefect, app.name, name, change=change, at=at, name="label is free")
    except Exception as exc:
        logger.warning(
            "Tasks that wait for a label are found by the next poll: %s",
            exc,
            extra={"action": "poll_delayed"},
        )
