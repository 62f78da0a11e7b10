"""What a run keeps of its route: as much as its end needs, should the route be gone by then.

A route that is renamed without `was=`, or taken out of the code, may have runs that are not over:
their worker was lost, or their board was away. The queues and the policy that hold for them are
those of their last start. It is one label of the run's record, as JSON; docs/formats.md lists what
is in it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Self

from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel, ConfigDict, ValidationError

from athanore.routing.routes import Route
from athanore.runs.records.record import record_of


class RouteRecord(BaseModel):
    """The options of a route that the end of a run depends on; named as in `RouteOptions`."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", from_attributes=True, ser_json_timedelta="float"
    )

    name: str
    queue_name: str
    in_progress_queue: str
    done_queue: str | None = None
    dead_letter_queue: str | None = None
    on_cancel: str | None = None
    publish: str | None = None
    poll_interval: timedelta
    max_retries: int = 0
    max_crashes: int = 3
    retry_delay: timedelta | None = None
    retry_backoff: float = 1.0
    retry_max_delay: timedelta | None = None
    retry_jitter: float = 0.0

    @classmethod
    def of(cls, route: Route) -> Self:
        """What a run of this route keeps of it."""
        return cls.model_validate(route)

    @classmethod
    def parse(cls, label: str) -> Self | None:
        """Read the label; None if it says nothing, or is none of ours."""
        try:
            return cls.model_validate_json(label)
        except ValidationError:
            return None

    def dump(self) -> str:
        """The label; what is as by default is left out."""
        return self.model_dump_json(exclude_defaults=True)


def as_begun(route: Route, run: FlowRun) -> Route:
    """A route with the in-progress queue that the last start of a run took its task to.

    The code may name another queue since; the task is where it was put.
    """
    recorded = RouteRecord.parse(record_of(run).route)
    if recorded is None or recorded.in_progress_queue == route.in_progress_queue:
        return route
    return replace(route, in_progress_queue=recorded.in_progress_queue)
