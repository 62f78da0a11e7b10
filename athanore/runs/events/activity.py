"""Calls of a task API in another process, which are signs of life of an agent.

The API notes them as events, at most three in a `stall_timeout`, and only for agents that have one.
The worker asks for them only when it has heard nothing for that long. They are no labels of the
run, because Prefect changes labels by reading and writing them back: two writers lose one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events import emit_event

from athanore import names
from athanore.runs.connection.clock import Clock, told
from athanore.runs.events.shapes import ACTIVITY

_DAY = timedelta(days=1)

LAG = timedelta(seconds=6)
"""So long it may take until an event is in Prefect's database."""


def note_call(app: str, run_id: UUID, task_id: str) -> None:
    """Note that the agent of a run has called."""
    emit_event(
        event=ACTIVITY,
        resource={
            "prefect.resource.id": f"athanore.run.{run_id}",
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


async def since_last_call(client: PrefectClient, run_id: UUID, clock: Clock) -> timedelta | None:
    """How long ago the agent of a run has called, if that was within a day.

    By Prefect's clock alone: those of the API's host and of ours may differ, or be set meanwhile.
    """
    now = clock.now()
    query = {
        "occurred": {
            "since": (now - _DAY).isoformat(),
            "until": (now + _DAY).isoformat(),
        },
        "event": {"name": [ACTIVITY]},
        "resource": {"id": [f"athanore.run.{run_id}"]},
        "order": "DESC",
    }
    response = await client.request("POST", "/events/filter", json={"filter": query, "limit": 1})
    found = response.json()["events"]
    if not found:
        return None
    asked = told(response.headers.get("date")) or clock.now()
    return max(asked - datetime.fromisoformat(found[0]["received"]), timedelta(0))
