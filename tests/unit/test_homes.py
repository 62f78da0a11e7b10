"""Where the folder of a task is: on the host where its last agent was, over stages and retries."""

from __future__ import annotations

from prefect.states import Completed

from athanore import names
from athanore.runs.kept.homes import home_of
from athanore.runs.records.record import Holder
from tests.memory_store import no_events
from tests.rules_site import Site

__all__ = ["no_events"]


async def test_the_next_stage_is_at_home_where_the_last_agent_was() -> None:
    site = Site()
    app = site.app.name
    first = await site.at_work()
    assert await home_of(site.client, app, first) == ""
    there = Holder(f"big-mac-77-ab12 {names.agents_pool(app)}", "cafe:77:1.00")
    first = await site.noted(first, there)
    assert await home_of(site.client, app, first) == "big-mac"
    await site.put(first, Completed())
    second = await site.dispatched("Next")
    assert second.id != first.id
    assert await home_of(site.client, app, second) == "big-mac"


def test_a_host_is_read_from_the_name_of_its_worker() -> None:
    assert names.host_of_worker(names.worker_name()) in names.worker_name()
    assert names.host_of_worker("ProcessWorker 1c2d") == ""
    assert names.host_of_worker("") == ""
