"""An agent that waits for an answer in a call of an API that is not in its worker's process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from athanore.runs.kept import questions
from athanore.runs.kept.questions import Listed
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import RunControl
from athanore.services.people import questions as use_cases
from tests.asking_site import Access, Asking
from tests.memory_store import no_events

__all__ = ["no_events"]


async def stands_still(site: Asking, control: RunControl) -> bool:
    """Whether the time of the attempt stands still once its worker has looked."""
    await site.sweep()
    return control.waits.is_waiting


async def listed(site: Asking) -> Listed:
    (found,) = await questions.all_listed(site.client, site.app.name)
    return found


async def test_the_time_of_its_attempt_stands_still_once_its_worker_has_looked() -> None:
    site = await Asking.made("working")
    elsewhere = App("run.py:dispatcher", site.app.dispatcher)
    with site.app.local_runs.controlled(site.run.id, site.task_id, site.run) as control:
        assert not await stands_still(site, control)
        waiting = use_cases.wait(Access(site), elsewhere, site.question, seconds=40)
        call = asyncio.create_task(waiting)
        found = await listed(site)
        while found.waits_until is None:
            await asyncio.sleep(0)
            found = await listed(site)
        assert await stands_still(site, control)
        await site.answered("red")
        assert not await stands_still(site, control)
        assert (await call).ending is not None


async def test_a_call_that_has_ended_without_an_answer_is_no_wait() -> None:
    site = await Asking.made("working")
    with site.app.local_runs.controlled(site.run.id, site.task_id, site.run) as control:
        now = site.app.clock.now()
        for seconds, stands in ((30, True), (-1, False), (30, True)):
            until = now + timedelta(seconds=seconds)
            await questions.list_it(site.client, site.app.name, site.question, until)
            assert await stands_still(site, control) is stands
    assert (await listed(site)).waits_until is not None
