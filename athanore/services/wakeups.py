"""Having a route polled before its time, because something has changed."""

from __future__ import annotations

from datetime import datetime

from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs.port import NewRun, RunStore


async def poll_soon(
    prefect: RunStore, app: str, route: str, *, change: str, at: datetime, name: str
) -> bool:
    """Create a poll run of a route; False if the route is paused, or not deployed.

    Args:
        change: what tells the change from others; whoever has the route polled for the same one,
            in whatever process, gets the same run.
        at: when it is due.
        name: how the run is called in Prefect.
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
            parameters={},
            key=names.poll_key(app, route, f"{deployment.id}/{change}"),
        ),
    )
    return True
