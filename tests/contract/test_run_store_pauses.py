"""Pauses of routes, as our rules make them in Prefect: the same of Prefect and of its double."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import StateType

from athanore.errors import DispatchError
from athanore.runs import store
from athanore.runs.capacity import pausing
from tests.contract.store_place import Place, no_events, place

__all__ = ["no_events", "place"]

pytestmark = pytest.mark.smoke


async def test_a_route_is_paused_and_resumed(place: Place) -> None:
    client, app = place.client, place.app
    assert await pausing.paused_parts(client, app, "Todo") == ()
    for _ in range(2):
        await pausing.pause(client, app, "Todo")
        assert await pausing.paused_parts(client, app, "Todo") == ("polls", "agents")
    now = datetime.now(UTC)
    assert not await pausing.resume_by_itself(client, app, "Todo", now), "a person paused it"
    await pausing.resume(client, app, "Todo")
    assert await pausing.paused_parts(client, app, "Todo") == ()
    assert await pausing.paused_parts(client, app, "Next") == ()
    with pytest.raises(DispatchError):
        await pausing.pause(client, app, "Nowhere")


async def test_a_route_that_paused_itself_resumes_by_itself(place: Place) -> None:
    client, app = place.client, place.app
    soon = datetime.now(UTC) + timedelta(hours=1)
    await pausing.pause(client, app, "Todo", reason="no key", resume_at=soon, account="me")
    await pausing.pause(client, app, "Todo", reason="another", account="you")
    assert await pausing.account_waited_for(client, app, "Todo") == "me"
    polls = await store.find_polls(client, app, "Todo", [StateType.SCHEDULED])
    assert [p.parameters[pausing.RESUME] for p in polls if pausing.RESUME in p.parameters] == [True]
    early = soon - timedelta(minutes=5)
    assert not await pausing.resume_by_itself(client, app, "Todo", early), "of an earlier pause"
    assert await pausing.resume_by_itself(client, app, "Todo", soon)
    assert await pausing.paused_parts(client, app, "Todo") == ()
    assert await pausing.account_waited_for(client, app, "Todo") == ""
    await pausing.pause(client, app, "Todo")
    assert not await pausing.resume_by_itself(client, app, "Todo", soon), "a person has paused it"
    assert await pausing.paused_parts(client, app, "Todo") == ("polls", "agents")


@pytest.mark.parametrize("left", ["both", "polls", "agents"])
async def test_a_pause_that_is_over_ends_though_its_poll_is_lost(place: Place, left: str) -> None:
    """Also where a worker was lost while it paused the route, or while it resumed it."""
    client, app, margin = place.client, place.app, timedelta(minutes=1)
    until = datetime.now(UTC) + timedelta(hours=1)
    await pausing.pause(client, app, "Todo", reason="a limit", resume_at=until)
    await pausing.see_to_own(client, app, "Todo", until - margin, margin)
    assert await pausing.paused_parts(client, app, "Todo") == ("polls", "agents"), "not over yet"
    switches = await client.switches(app, "Todo")
    assert switches.queue is not None
    if left == "agents":
        await client.resume_polls(switches)
    if left == "polls":
        await client.switch_agents(switches.queue, paused=False, description="")
    await pausing.see_to_own(client, app, "Todo", until, margin)
    assert await pausing.paused_parts(client, app, "Todo") == ()
    await pausing.pause(client, app, "Todo")
    await pausing.see_to_own(client, app, "Todo", until, margin)
    assert await pausing.paused_parts(client, app, "Todo") == ("polls", "agents"), "a person's"


async def test_a_pause_that_was_left_half_way_does_not_last(place: Place) -> None:
    client, app, margin = place.client, place.app, timedelta(minutes=1)
    now = datetime.now(UTC)
    await pausing.pause(client, app, "Todo", reason="it fails", resume_at=None)
    switches = await client.switches(app, "Todo")
    assert switches.queue is not None
    await client.switch_agents(switches.queue, paused=False, description="")
    await pausing.see_to_own(client, app, "Todo", now, margin)
    assert await pausing.paused_parts(client, app, "Todo") == ("polls",), "it may be on its way"
    await pausing.see_to_own(client, app, "Todo", now + 3 * margin, margin)
    assert await pausing.paused_parts(client, app, "Todo") == ()


async def test_a_pause_without_an_end_is_not_ended_by_the_poll_of_an_earlier_one(
    place: Place,
) -> None:
    client, app = place.client, place.app
    soon = datetime.now(UTC) + timedelta(hours=1)
    await pausing.pause(client, app, "Todo", reason="a limit", resume_at=soon)
    await pausing.resume(client, app, "Todo")
    await pausing.pause(client, app, "Todo", reason="it fails", resume_at=None)
    assert not await pausing.resume_by_itself(client, app, "Todo", soon)
    assert await pausing.paused_parts(client, app, "Todo") == ("polls", "agents")


async def test_a_route_that_its_code_has_no_more_does_not_resume_by_itself(place: Place) -> None:
    client, app = place.client, place.app
    soon = datetime.now(UTC) + timedelta(hours=1)
    await pausing.pause(client, app, "Todo", reason="a limit", resume_at=soon)
    await pausing.pause(client, app, "Todo", reason="It is gone.", is_missing=True)
    assert await pausing.missing(client, app) == ["Todo"]
    assert not await pausing.resume_by_itself(client, app, "Todo", soon)


@pytest.mark.parametrize("until", [None, timedelta(hours=1), timedelta(hours=-1)])
async def test_a_route_that_is_back_in_its_code_waits_as_it_did_before(
    place: Place, until: timedelta | None
) -> None:
    client, app, now = place.client, place.app, datetime.now(UTC)
    at = None if until is None else now + until
    await pausing.pause(client, app, "Todo", reason="it fails", resume_at=at)
    await pausing.pause(client, app, "Todo", reason="It is gone.", is_missing=True)
    is_over = until is not None and until < timedelta(0)
    assert await pausing.let_found_go_on(client, app, "Todo", now) is is_over
    assert await pausing.missing(client, app) == []
    paused = ("polls", "agents")
    assert await pausing.paused_parts(client, app, "Todo") == (() if is_over else paused)
    await pausing.resume(client, app, "Todo")
    for _ in range(2):  # two reloads without it
        await pausing.pause(client, app, "Todo", reason="It is gone.", is_missing=True)
    assert await pausing.let_found_go_on(client, app, "Todo", now)


async def test_runs_under_a_former_name_wait_while_their_route_has_paused_itself(
    place: Place,
) -> None:
    client, app = place.client, place.app
    soon = datetime.now(UTC) + timedelta(hours=1)

    async def paused() -> tuple[bool, bool]:
        now = (await client.switches(app, "Todo"), await client.switches(app, "Next"))
        return now[0].agents_paused, now[1].agents_paused

    await pausing.pause(client, app, "Todo", was=["Next"], reason="a limit", resume_at=soon)
    assert await paused() == (True, True)
    assert await pausing.resume_by_itself(client, app, "Todo", soon, was=["Next"])
    assert await paused() == (False, False)
