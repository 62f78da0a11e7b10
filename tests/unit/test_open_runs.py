"""Of many runs those that wait are read now and then, and those that work each time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Completed, Pending, Running

from athanore.runs import open_runs
from athanore.runs.open_runs import OpenRuns, phase_of
from tests.memory_store import MemoryRunStore, no_events
from tests.rules_site import Site
from tests.unit.test_sweep import Counting

__all__ = ["no_events"]

PAGE = 2


class Crowd(Site):
    """Six tasks with a run each, of which the first is at work."""

    client: Counting

    def prefect(self) -> MemoryRunStore:
        return Counting()

    async def begin(self) -> list[FlowRun]:
        self.tasks = [self.board.create_task("Todo", f"Task {n}") for n in range(6)]
        runs = [
            await self.app.dispatching.dispatch(self.client, self.route, task)
            for task in self.tasks
        ]
        await self.put(runs[0], Pending(), Running())
        return runs

    @property
    def ids(self) -> Sequence[str]:
        return [t.id for t in self.tasks]

    async def first(self) -> OpenRuns:
        return await open_runs.of_tasks(self.client, self.app.name, self.ids, PAGE)

    async def next(self, before: OpenRuns, *anew: str) -> OpenRuns:
        return await open_runs.renewed(self.client, self.app.name, before, anew, PAGE)


def phases(site: Crowd, seen: OpenRuns) -> list[str | None]:
    found = [seen.by_task.get(task_id) for task_id in site.ids]
    return [None if run is None else phase_of(run) for run in found]


@pytest.fixture
async def site() -> Crowd:
    return Crowd()


async def test_where_nothing_changed_one_question_is_enough(site: Crowd) -> None:
    await site.begin()
    before = await site.first()
    site.client.asked = 0
    seen = await site.next(before)
    assert site.client.asked == 1
    assert phases(site, seen) == phases(site, before) == ["working", *["waiting"] * 5]
    assert not seen.is_whole


async def test_what_begins_and_ends_is_seen(site: Crowd) -> None:
    runs = await site.begin()
    before = await site.first()
    await site.put(runs[0], Completed())
    await site.put(runs[1], Pending(), Running())
    seen = await site.next(before)
    assert phases(site, seen) == [None, "working", *["waiting"] * 4]
    assert [r.id for r in seen.working] == [runs[1].id]
    assert runs[1].id not in [r.id for r in seen.line]


async def test_what_waits_again_is_seen(site: Crowd) -> None:
    runs = await site.begin()
    before = await site.first()
    await site.put(runs[0], AwaitingRetry())
    seen = await site.next(before)
    assert phases(site, seen) == ["retrying", *["waiting"] * 5]
    assert runs[0].id in [r.id for r in seen.line]


async def test_tasks_that_were_moved_are_read_anew(site: Crowd) -> None:
    runs = await site.begin()
    before = await site.first()
    await site.put(runs[3], Completed())  # begun and ended between two looks
    new = site.board.create_task("Todo", "One more")
    await site.app.dispatching.dispatch(site.client, site.route, new)
    assert phases(site, await site.next(before))[3] == "waiting", "as it was read before"
    seen = await site.next(before, site.ids[3], new.id)
    assert phases(site, seen)[3] is None
    assert phase_of(seen.by_task[new.id]) == "waiting"
