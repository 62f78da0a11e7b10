"""What the work queue of a route says of itself in Prefect."""

from __future__ import annotations

from datetime import timedelta

import pytest

from athanore.deployments.plan import plan
from athanore.runs.capacity import pausing
from athanore.services import routes
from tests.memory_store import no_events
from tests.rules_site import Site

__all__ = ["no_events"]


SERVED = "Tasks of 'Todo'; served in order of priority"


@pytest.mark.parametrize(
    ("host", "said"),
    [("macos", f"{SERVED}, on hosts with the label 'macos' only."), (None, f"{SERVED}.")],
)
async def test_it_names_the_hosts_of_the_route_before_and_after_a_pause(
    host: str | None, said: str
) -> None:
    site = Site(host=host)
    planned = plan(site.dispatcher, "run.py:dispatcher").pools[0].queues
    assert [q.description for q in planned if q.name == "Todo"] == [said]

    async def shown() -> str | None:
        queue = (await site.client.switches(site.app.name, "Todo")).queue
        assert queue is not None
        return site.client.queues[queue].description

    await routes.pause(site.client, site.app, "Todo")
    assert await shown() == said
    await routes.resume(site.client, site.app, "Todo")
    assert await shown() == said

    now = site.app.clock.now()
    await pausing.pause(site.client, site.app.name, "Todo", reason="no key.", resume_at=now)
    assert (await shown() or "").startswith("no key.")
    later = now + timedelta(minutes=5)
    await pausing.resume_by_itself(site.client, site.app.name, "Todo", later, host=host)
    assert await shown() == said
