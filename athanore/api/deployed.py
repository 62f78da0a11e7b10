"""The deployments of an app's routes in Prefect."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import DeploymentSort

from athanore import names

_PAGE = 100


async def deployments(
    client: PrefectClient, app: str, kind: str = names.POLL_TAG
) -> dict[str, DeploymentResponse]:
    """Return an app's deployments of one kind, by the queue that they are for."""
    found: dict[str, DeploymentResponse] = {}
    tags = ["athanore", names.app_tag(app), kind]
    offset = 0
    while True:
        page = await client.read_deployments(
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=tags)),
            sort=DeploymentSort.NAME_ASC,
            limit=_PAGE,
            offset=offset,
        )
        found.update({str(d.parameters.get("queue_name")): d for d in page})
        offset += len(page)
        if len(page) < _PAGE:
            return found


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
