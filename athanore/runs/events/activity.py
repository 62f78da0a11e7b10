"""Calls of a task API in another process, which are signs of life of an agent.

The API notes them as events, at most three in a `stall_timeout`, and only for agents that have one.
The worker asks for them only when it has heard nothing for that long. They are no labels of the
run, because Prefect changes labels by reading and writing them back: two writers lose one.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.events import emit_event

from athanore import names
from athanore.runs.connection.clock import Clock
from athanore.runs.events.shapes import ACTIVITY
from athanore.runs.port import RunStore

LAG = timedelta(seconds=6)
"""So long it may take until an event is in Prefect's database."""


def note_call(app: str, run_id: UUID, task_id: str) -> None:
    """Note that the agent of a run has called."""
    emit_event(
        event=ACTIVITY,
        resource={
            "prefect.resource.id": _resource(run_id),
            "athanore.app": app,
            "athanore.task-id": task_id,
        },
        related=[
            {
                "prefect.resource.id": names.task_resource(app, task_id),
                "prefect.resource.role": "task",
            }
        ],
    )


async def since_last_call(prefect: RunStore, run_id: UUID, clock: Clock) -> timedelta | None:
    """How long ago the agent of a run has called, if that was within a day.

    By Prefect's clock alone: those of the API's host and of ours may differ, or be set meanwhile.
    """
    return await prefect.since_event(ACTIVITY, _resource(run_id), clock.now())


def _resource(run_id: UUID) -> str:
    return f"athanore.run.{run_id}"
