"""Runs that are of no use any more: cancelled while they wait, or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

from athanore import names
from athanore.runs.states import NOBODYS_WISH, StateName
from athanore.runs.store import NOT_TAKEN, WAITING, find_runs


async def is_wished(client: PrefectClient, run: FlowRun) -> bool:
    """Tell whether somebody cancelled a run before its agent started, whatever the state is called.

    They did so while it waited, or it was asked to stop; what its flow returned is no wish.
    """
    if run.state_name in NOBODYS_WISH:
        return False
    states = await client.read_flow_run_states(run.id)
    before = [s for s in states if s.type is not StateType.CANCELLED]
    last = max(before, key=lambda s: s.timestamp, default=None)
    return last is not None and last.type in (*WAITING, StateType.CANCELLING)


async def cancel_waiting(
    client: PrefectClient, app: str, route: str, message: str
) -> list[FlowRun]:
    """Cancel the runs of a route that no worker has taken, and return them.

    A Pending run is left alone: the engine that has it would run it all the same.
    """
    waiting = await find_runs(client, app, NOT_TAKEN, route=route)
    for run in waiting:
        await client.set_flow_run_state(
            run.id, Cancelled(name=StateName.ROUTE_REMOVED, message=message), force=True
        )
    return waiting


async def delete_waiting(client: PrefectClient, ids: Sequence[UUID]) -> None:
    """Delete up to 50 runs in one request.

    Those that a worker has taken meanwhile, perhaps another one, are left alone.
    """
    wanted = {
        "id": {"any_": [str(i) for i in ids]},
        "state": {"type": {"any_": [StateType.SCHEDULED.value]}},
    }
    await _delete(client, wanted)


async def delete_empty_polls(client: PrefectClient, app: str, before: datetime) -> int:
    """Delete polls that found nothing and ended before a time; return how many."""
    query = {
        "tags": {"all_": [names.app_tag(app), names.POLL_TAG]},
        "state": {"name": {"any_": [StateName.NOTHING_READY]}},
        "end_time": {"before_": before.isoformat()},
    }
    total = 0
    while deleted := await _delete(client, query):
        total += deleted
    return total


async def _delete(client: PrefectClient, flow_runs: dict[str, Any]) -> int:
    """Delete up to 50 runs that match a filter, which Prefect's client has no method for."""
    path = cast(Any, "/flow_runs/bulk_delete")
    response = await client.request("POST", path, json={"flow_runs": flow_runs})
    return len(response.json()["deleted"])
