"""What people look at is read from the runs of the app that they ask."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, Log

from athanore.errors import DispatchError
from athanore.services.status import looking
from tests.memory_store import MemoryRunStore, no_events
from tests.rules_site import Access, Site

__all__ = ["no_events"]


class Logged(MemoryRunStore):
    """A store whose runs have all said the same."""

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        return await self.read_run(flow_run_id)

    async def read_logs(self, *_: object, **__: object) -> list[Log]:
        said = {"name": "agent", "level": 20, "message": "Hello", "timestamp": datetime.now(UTC)}
        return [Log.model_validate(said)]


class Shown(Site):
    """A site whose logs are looked at."""

    def prefect(self) -> MemoryRunStore:
        return Logged()

    async def log_of(self, run: FlowRun) -> list[str]:
        page = await looking.log_page(Access(self), self.app, self.task_id, run.id)
        return [line.message for line in page.lines]


async def test_the_log_of_another_apps_task_of_the_same_id_is_not_shown() -> None:
    ours, theirs = Shown(), Shown()
    assert ours.task_id == theirs.task_id
    own, other = await ours.dispatched(), await theirs.dispatched()
    ours.client.runs |= theirs.client.runs
    assert await ours.log_of(own) == ["Hello"]
    with pytest.raises(DispatchError, match="has had no agent run"):
        await ours.log_of(other)
