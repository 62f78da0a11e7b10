"""The deployments of an app's routes in Prefect."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule

from athanore import names
from athanore.flows.registry import queue_of, route_deployments


async def deployments(
    client: PrefectClient, app: str, kind: str = names.POLL_TAG
) -> dict[str, DeploymentResponse]:
    """Return an app's deployments of one kind, by the queue that they are for."""
    return {queue_of(d): d for d in await route_deployments(client, app, kind)}


def next_poll(deployment: DeploymentResponse, now: datetime | None = None) -> datetime | None:
    """When a queue is looked at next; None while its deployment is paused."""
    if deployment.paused:
        return None
    now = now or datetime.now(UTC)
    times = [
        _next_tick(s.schedule, now)
        for s in deployment.schedules
        if s.active and isinstance(s.schedule, IntervalSchedule)
    ]
    return min(times, default=None)


def _next_tick(schedule: IntervalSchedule, now: datetime) -> datetime:
    anchor = schedule.anchor_date
    passed = (now - anchor) // schedule.interval
    return anchor + (passed + 1) * schedule.interval
