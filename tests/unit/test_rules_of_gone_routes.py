"""The runs of a route that is gone end by what they kept of it; on a store in memory."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Pending, Running, Scheduled

from athanore import AgentDispatcher, names
from athanore.flows.sweeping.gone import as_recorded
from athanore.flows.sweeping.recovery import Recovery
from athanore.flows.sweeping.sweep import look_once
from athanore.routing.routes import Route
from athanore.runs import clearing
from athanore.runs.records.record import record_of
from athanore.runs.records.route_record import RouteRecord
from athanore.runs.states import PrefectState, StateName
from athanore.runtime.apps import App
from tests.harness import prompt
from tests.memory_store import deploy_in_memory, no_events
from tests.rules_site import DEAD, LOG, RESULTS, Site

__all__ = ["no_events"]

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
DURATIONS = st.timedeltas(timedelta(seconds=1), timedelta(days=30))
NAMED = st.none() | st.text(min_size=1)


class Left(Site):
    """A site whose route `Todo` is gone from code and Prefect, or leaves."""

    def remove(self, *, deployed: bool = False, leaving: bool = False) -> None:
        """Take the route out of the code.

        Args:
            deployed: Prefect still has it, as while another worker is to be upgraded.
            leaving: and its removal has begun.
        """
        dispatcher = AgentDispatcher("true", queue_backend=self.board, name=self.app.name)
        for queue in self.further:
            dispatcher.route(queue)(prompt)
        self.app = App("run.py:dispatcher", dispatcher)
        for flow in (names.AGENT_FLOW, names.POLL_FLOW):
            name = f"{flow}/{names.deployment_name(self.app.name, 'Todo')}"
            if not deployed:
                del self.client.deployed[name]
            elif leaving:
                self.client.deployed[name].tags.append(names.LEAVING_TAG)


@given(
    st.builds(
        RouteRecord,
        name=st.text(min_size=1),
        queue_name=st.text(min_size=1),
        in_progress_queue=st.text(min_size=1),
        done_queue=NAMED,
        dead_letter_queue=NAMED,
        on_cancel=NAMED,
        publish=NAMED,
        poll_interval=DURATIONS,
        max_retries=st.integers(0, 99),
        max_crashes=st.integers(0, 99),
        retry_delay=st.none() | DURATIONS,
        retry_backoff=st.floats(1, 1000),
        retry_max_delay=st.none() | DURATIONS,
        retry_jitter=st.floats(0, 1),
    )
)
def test_what_is_kept_of_a_route_is_read_back(record: RouteRecord) -> None:
    assert RouteRecord.parse(record.dump()) == record


@pytest.mark.parametrize("label", ["", "{", "[]", '{"name": "Todo"}', '{"poll_interval": "x"}'])
def test_a_label_that_is_none_of_ours_says_nothing(label: str) -> None:
    assert RouteRecord.parse(label) is None


def test_each_key_of_a_route_is_on_the_page_and_named_as_its_option() -> None:
    section = PAGE.split("\n`athanore.route` is an object", 1)[1].split("\n\n`athanore.", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(RouteRecord.model_fields)
    route = Route(queue_name="Todo", prompt=prompt, retry_delay=5, done_queue="Done")
    kept = json.loads(RouteRecord.of(route).dump())
    assert all(hasattr(route, key) for key in RouteRecord.model_fields)
    assert (kept["retry_delay"], kept["done_queue"], kept["name"]) == (5, "Done", "Todo")


@pytest.mark.parametrize(
    ("noted", "place", "state", "ends_in"),
    [
        ("nothing", "In Progress", StateName.ROUTE_REMOVED, "Todo"),
        ("nothing", "Todo", StateName.ROUTE_REMOVED, "Todo"),
        ("nothing", "Elsewhere", StateName.ROUTE_REMOVED, "Elsewhere"),
        ("succeeded", "In Progress", PrefectState.COMPLETED, "Done"),
        ("succeeded", "Elsewhere", PrefectState.COMPLETED, "Elsewhere"),
        ("failed", "In Progress", StateName.ROUTE_REMOVED, "Todo"),
        ("hopeless", "In Progress", PrefectState.FAILED, "Failed"),
        ("hopeless", "Elsewhere", PrefectState.FAILED, "Elsewhere"),
    ],
)
async def test_what_a_lost_worker_left_of_a_route_that_is_gone_is_ended(
    noted: str, place: str, state: str, ends_in: str
) -> None:
    site = Left(in_progress_queue="In Progress")
    run = await site.at_work(place)
    if (result := RESULTS[noted]) is not None:
        await site.log(run).ended(result)
    site.remove()
    for _ in range(3):
        await site.sweep()
    after = await site.client.read_run(run.id)
    assert (after.state_name, site.place) == (state, ends_in)
    assert record_of(after).is_closed
    assert len(site.comments) == len(set(site.comments)), "nothing is said twice"
    if place == "In Progress" and ends_in == "Todo":
        assert "Route 'Todo' is gone" in site.comments[-1]


@pytest.mark.parametrize("leaving", [False, True])
async def test_a_route_that_another_worker_has_is_left_to_it(leaving: bool) -> None:
    """While an app is upgraded, a worker of the new version looks after the old one's runs, too."""
    site = Left()
    run = await site.at_work()
    site.remove(deployed=True, leaving=leaving)
    await site.sweep()
    after = await site.client.read_run(run.id)
    expected = (StateName.ROUTE_REMOVED, "Todo") if leaving else ("Running", "In Progress")
    assert (after.state_name, site.place) == expected


async def test_a_branch_that_nobody_can_publish_any_more_is_a_persons_matter() -> None:
    site = Left()
    run = await site.at_work()
    await site.log(run).ended(RESULTS["succeeded"] or pytest.fail())
    kept = json.loads(record_of(await site.client.read_run(run.id)).route)
    label = {"athanore.route": json.dumps(kept | {"publish": "branch"})}
    await site.client.add_labels(run.id, label)
    site.remove()
    await site.sweep()
    assert site.place == "Failed"
    assert "was not published" in site.comments[-1]


@pytest.mark.parametrize("place", ["In Progress", "Todo", "Elsewhere"])
@pytest.mark.parametrize("noted", ["nothing", "succeeded", "failed", "hopeless"])
async def test_a_waiting_run_of_a_removed_route_ends_with_what_is_due(
    noted: str, place: str
) -> None:
    """The board was away when its agent ended, or took its task: nobody else would say so."""
    site = Left()
    run = await site.at_work(place)
    book = site.log(run)
    if (result := RESULTS[noted]) is not None:
        await book.ended(result)
        await book.keep()
    else:
        await book.give_back()
        await book.keep_claim()
    await book.leave()
    due = datetime.now(UTC) + timedelta(hours=1)
    run = await site.put(run, Scheduled(name=StateName.WAITING_FOR_BOARD, scheduled_time=due))
    site.remove(deployed=True, leaving=True)
    left = await clearing.cancel_waiting(site.client, site.app.name, "Todo", "It was removed.")
    assert [r.id for r in left] == [run.id]
    for _ in range(2):
        await site.sweep()
    after = await site.client.read_run(run.id)
    at_work = place == "In Progress"
    ends: dict[str, tuple[StateType, str]] = {
        "nothing": (StateType.CANCELLED, "Todo" if at_work else place),
        "succeeded": (StateType.COMPLETED, "Done" if at_work else place),
        "failed": (StateType.CANCELLED, "Todo" if at_work else place),
        "hopeless": (StateType.FAILED, "Failed" if at_work else place),
    }
    assert (after.state_type, site.place) == ends[noted]
    assert record_of(after).is_closed
    assert not await clearing.cancel_waiting(site.client, site.app.name, "Todo", "Again.")


async def test_a_waiting_run_that_owes_nothing_is_cancelled_with_its_route() -> None:
    site = Left()
    run = await site.at_work("Todo")
    await site.log(run).leave()
    run = await site.put(run, AwaitingRetry(scheduled_time=datetime.now(UTC)))
    site.remove(deployed=True, leaving=True)
    assert not await clearing.cancel_waiting(site.client, site.app.name, "Todo", "It was removed.")
    assert (await site.client.read_run(run.id)).state_name == StateName.ROUTE_REMOVED


async def test_a_queue_that_went_with_its_route_leaves_the_task_where_it_is() -> None:
    site = Left()
    run = await site.at_work()
    site.remove()
    site.board.delete_queue("Todo")
    for _ in range(2):
        await site.sweep()
    assert site.place == "In Progress"
    assert (await site.client.read_run(run.id)).state_name == StateName.ROUTE_REMOVED
    assert "stays in 'In Progress'" in site.comments[-1]


@pytest.mark.parametrize(
    ("state", "ends_in"),
    [
        (Failed(message="exit code 1"), "Failed"),
        (Crashed(), "Todo"),
        (Completed(), "In Progress"),
    ],
)
async def test_what_is_due_to_a_finished_run_of_a_gone_route_is_done(
    state: Any, ends_in: str
) -> None:
    site = Left()
    run = await site.at_work()
    await site.log(run).leave()
    run = await site.put(run, state)
    site.client.runs[run.id].state.timestamp -= timedelta(hours=1)  # type: ignore[union-attr]
    site.remove()
    for _ in range(2):
        await site.sweep()
    assert site.place == ends_in


@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize(
    ("state", "ends_in"),
    [
        (Failed(message="exit code 1"), "Failed"),
        (Crashed(), "Todo"),
        (Completed(), "Elsewhere"),
    ],
)
async def test_what_a_gone_route_owes_is_found_in_a_queue_that_no_route_uses(
    state: Any, ends_in: str, restarted: bool
) -> None:
    """`restarted`: the route went with a restart, not while the app was up."""
    site = Left(in_progress_queue="Elsewhere")
    run = await site.at_work("Elsewhere")
    await site.log(run).leave()
    run = await site.put(run, state)
    stored = site.client.runs[run.id]
    assert stored.state is not None
    stored.state.timestamp -= timedelta(hours=1)
    if not restarted:
        site.board.away = True
        await site.sweep()
        site.board.away = False
    noted = site.app.noted
    site.remove()
    if not restarted:
        site.app.noted = noted
        noted.next_look = 0.0
    for _ in range(2):
        await site.sweep()
        site.app.noted.next_look = 0.0
    assert site.place == ends_in
    assert len(site.comments) == int(ends_in != "Elsewhere")
    assert not site.app.noted.owing
    if ends_in == "Elsewhere":
        return
    site.board.move_task(site.task_id, "Elsewhere")  # a person looks at it there
    await site.sweep()
    assert site.place == "Elsewhere"


async def test_a_route_may_use_the_queue_that_is_by_default_of_tasks_in_progress() -> None:
    site = Left()
    run = await site.at_work()
    kept = RouteRecord.of(replace(site.route, in_progress_queue="Elsewhere"))
    label = kept.model_copy(update={"queue_name": "In Progress"}).dump()
    await site.client.add_labels(run.id, {"athanore.route": label})
    site.remove()
    route = as_recorded(site.app, await site.client.read_run(run.id))
    assert (route.queue_name, route.in_progress_queue) == ("In Progress", "Elsewhere")


async def renamed(site: Site) -> FlowRun:
    """A crashed run of a route that is called otherwise now; its task is back in its queue."""
    run = await site.put(await site.dispatched(), Pending(message=str(DEAD)), Running())
    run = await site.noted(run)
    await site.log(run).leave()
    run = await site.put(run, Crashed())
    stored = site.client.runs[run.id]
    assert stored.state is not None
    stored.state.timestamp -= timedelta(hours=1)
    return await site.client.read_run(run.id)


@pytest.mark.parametrize("offered", [True, False])
async def test_a_crashed_run_under_a_former_name_is_unfinished_business(offered: bool) -> None:
    """One that no worker would be offered any more gives way to a run under the new name."""
    site = Site()
    run = await renamed(site)
    if not offered:
        site.client.runs[run.id].work_queue_id = None
        run = await site.client.read_run(run.id)
    dispatcher = AgentDispatcher("true", queue_backend=site.board, name=site.app.name)
    dispatcher.route("Todo", name="Coder", was=["Todo"])(prompt)
    app = App("run.py:dispatcher", dispatcher)
    deploy_in_memory(site.client, app.name, "Coder", "Todo")
    recovery = Recovery(site.client, app, dispatcher.routes["Coder"], LOG)
    assert await recovery.resume(run, site.board.get_task(site.task_id))
    after = await site.client.read_run(run.id)
    expected = PrefectState.AWAITING_RETRY if offered else StateName.SUPERSEDED
    assert after.state_name == expected
    await look_once(site.client, app)
    assert site.place == "Todo"
