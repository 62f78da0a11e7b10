"""When a queue is looked at next, by the schedule of its poll."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule


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
