"""What the agent of a run has handed in: a note beside the run, because the task API writes it.

The note names the start of the run that it belongs to, so each attempt hands in its own. The newest
counts. docs/formats.md has the key.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from athanore.runs.port import RunStore

_RESULT = "athanore-result"


async def hand_in(prefect: RunStore, run_id: UUID, start: int, text: str) -> None:
    """Keep what the agent of a start hands in, in place of what it handed in before.

    Args:
        text: as JSON; the route's model takes it.
    """
    key = f"{_RESULT}-{start}-{uuid4()}"
    await prefect.note(run_id, key, text)
    for earlier, _ in (await prefect.notes(run_id, f"{_RESULT}-{start}-"))[:-1]:
        await prefect.drop_note(run_id, earlier)


async def handed_in(prefect: RunStore, run_id: UUID, start: int | None = None) -> str | None:
    """What the agent of a start has handed in, as JSON; None if nothing.

    Args:
        start: its number; None: the newest that any has.
    """
    which = "" if start is None else f"{start}-"
    found = await prefect.notes(run_id, f"{_RESULT}-{which}")
    return found[-1][1] if found else None
