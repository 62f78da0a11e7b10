"""Having a route polled before its time, because something has changed."""

from __future__ import annotations

from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from athanore import names


async def poll_soon(
    client: PrefectClient, app: str, route: str, *, change: str, at: datetime, name: str
) -> bool:
    """Create a poll run of a route; False if the route is paused, or not deployed.

    Args:
        change: what tells the change from others; whoever has the route polled for the same one,
            in whatever process, gets the same run.
        at: when it is due.
        name: how the run is called in Prefect.
    """
    deployed_as = f"{names.POLL_FLOW}/{names.deployment_name(app, route)}"
    try:
        deployment = await client.read_deployment_by_name(deployed_as)
    except ObjectNotFound:
        return False
    if deployment.paused:
        return False
    await client.create_flow_run_from_deployment(
        deployment.id,
        name=name,
        state=Scheduled(scheduled_time=at),
        idempotency_key=names.poll_key(app, route, f"{deployment.id}/{change}"),
    )
    return True
