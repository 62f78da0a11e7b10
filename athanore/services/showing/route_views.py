"""How routes and scheduled work are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """Scheduled work: a task is created in a queue at the times of a cron expression.

    `next` is when the next one is due; None while it is paused or not deployed.
    """

    name: str
    queue_name: str
    cron: str
    time_zone: str
    deployed: bool
    paused: bool
    next: datetime | None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The routes in the order in which they get free slots.

    Attributes:
        columns: the headings of the table for people.
        rows: its cells, a row for each route.
        fields: the same routes for programs, with all their options.
        schedules: scheduled work, a row for each: name, times, time zone, queue, the next time.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    fields: tuple[Mapping[str, Any], ...]
    schedules: tuple[tuple[str, ...], ...] = ()
