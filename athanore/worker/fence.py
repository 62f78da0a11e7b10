"""A worker that is cut off stops its agents before others may take their tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from athanore.flows import clock, control
from athanore.flows.control import StopReason
from athanore.worker.client import PatientTransport

_OF_THE_LIMIT = 0.9


async def fence(
    transport: PatientTransport | None, lost_after: float, runs: Callable[[], Iterable[UUID]]
) -> None:
    """Stop the agents when Prefect has been out of reach, or this process has stood still, for so
    long that another worker may soon take their tasks, or has; runs until cancelled.

    Args:
        lost_after: seconds after which other workers take this one for lost.
        runs: tells which runs the worker has.
    """
    limit = _OF_THE_LIMIT * lost_after
    last = clock.steady()
    while True:
        await asyncio.sleep(min(1.0, limit / 4))
        away = transport.away_for.total_seconds() if transport else 0.0
        stood_still = clock.steady() - last
        last += stood_still
        if stood_still > limit:
            control.note_outage()
        if max(away, stood_still) > limit:
            for run_id in list(runs()):
                control.stop(run_id, StopReason.CUT_OFF)
