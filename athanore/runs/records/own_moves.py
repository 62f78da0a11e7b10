"""The moves of its task that an agent makes itself, noted at its run."""

from __future__ import annotations

from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun

from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of

_MOVED = "athanore-moved"


async def note_move(prefect: RunStore, run_id: UUID, start: int, queue_name: str) -> None:
    """Note that the agent of a run moves its task itself.

    Args:
        start: the number of the start that it belongs to.
    """
    await prefect.note(run_id, f"{_MOVED}-{start}-{uuid4()}", queue_name)


async def has_moved_itself(prefect: RunStore, run: FlowRun) -> bool:
    """Tell whether the agent of this start of a run has moved its task itself."""
    prefix = f"{_MOVED}-{record_of(run).starts}-"
    return await prefect.has_note(run.id, prefix)
