"""An agent that moves its own task: what is noted of it, so that nobody stops it for that."""

from __future__ import annotations

import pytest

from athanore.errors import QueueNotFoundError
from athanore.services import tasks
from tests.memory_store import no_events
from tests.rules_site import Access, Site

__all__ = ["no_events"]


async def test_a_move_that_is_refused_is_not_noted() -> None:
    """A note would hide it when a person moves the task away later."""
    site, noted = Site(), list[str]()

    async def note() -> None:
        noted.append("moved")

    access = Access(site)
    with pytest.raises(QueueNotFoundError):
        await tasks.move(access, site.app, site.task_id, "Dome", "agent", None, note)
    assert (noted, site.place) == ([], "Todo")
    await tasks.move(access, site.app, site.task_id, "Done", "agent", None, note)
    assert (noted, site.place) == (["moved"], "Done")
