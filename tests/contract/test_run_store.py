"""What our rules rely on in Prefect, and its oddities: the same of Prefect and of its double.

Prefect is asked on the server that `athanore up` starts, on the newest and the oldest version.
Pauses are in `test_run_store_pauses.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from athanore import names
from athanore.errors import DispatchError, TaskBusyError
from athanore.models import Fault, FaultKind, Task
from athanore.routing.routes import RetryPolicy
from athanore.runs import clearing, open_runs, store
from athanore.runs.capacity import label_caps, limits
from athanore.runs.capacity.slots import Slots
from athanore.runs.dispatching import Dispatch
from athanore.runs.kept import keys, questions
from athanore.runs.kept.questions import Question
from athanore.runs.open_runs import OpenRuns
from athanore.runs.port import MOST_TAGS, NewRun, RunQuery
from athanore.runs.records.outputs import hand_in, handed_in
from athanore.runs.records.own_moves import has_moved_itself, note_move
from athanore.runs.records.record import record_of
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.services import runs
from tests.contract.store_place import Place, no_events, place
from tests.harness import app_name

__all__ = ["no_events", "place"]

pytestmark = pytest.mark.smoke


def new_run(name: str = "Fix it", key: str | None = None, **more: Any) -> NewRun:
    return NewRun(name=name, due=datetime.now(UTC), parameters={"task_id": "1"}, key=key, **more)


async def test_a_key_returns_the_run_that_has_it_for_ever(place: Place) -> None:
    deployment = await client_deployment(place)

    async def created(key: str) -> FlowRun:
        return await place.client.create(deployment, new_run(key=f"{place.app}/{key}"))

    first = await created("a")
    assert first.state_type is StateType.SCHEDULED
    for state in (Pending(), Running(), Completed()):
        await place.put(first, state)
        again = await created("a")
        assert (again.id, again.state_type) == (first.id, state.type)
    assert (await created("b")).id != first.id


async def client_deployment(place: Place) -> Any:
    name = f"{names.AGENT_FLOW}/{names.deployment_name(place.app, 'Todo')}"
    return (await place.client.deployment(name)).id


async def test_a_task_has_one_run_until_that_has_ended(place: Place) -> None:
    first = await place.dispatched()
    assert (await place.dispatched()).id == first.id
    await place.put(first, Pending())
    await place.put(first, Running())
    with pytest.raises(TaskBusyError):
        await place.dispatched()
    await place.put(first, Completed())
    second = await place.dispatched()
    assert second.id != first.id
    assert second.idempotency_key == names.run_key(place.app, "Todo", "1", str(first.id))


async def test_a_route_without_a_deployment_has_no_run(place: Place) -> None:
    await place.client.delete_deployment(await client_deployment(place))
    with pytest.raises(DispatchError):
        await place.dispatched()


async def test_a_deployment_that_was_made_anew_is_found(place: Place) -> None:
    await place.dispatched()
    await place.client.delete_deployment(await client_deployment(place))
    await place.deployed()
    assert (await place.dispatched("2")).state_type is StateType.SCHEDULED


async def test_a_state_is_proposed_to_those_of_several_runs_that_may_have_it(
    place: Place,
) -> None:
    waits, taken, other = [await place.dispatched(task) for task in ("1", "2", "3")]
    await place.put(taken, Pending(), force=True)
    meant = RunQuery(ids=[waits.id, taken.id], states=[StateType.SCHEDULED])
    ended = Completed(name="Unchanged", message="Nothing is new.")
    assert await place.client.propose_all(meant, ended) == {waits.id}
    states = [(await place.client.read_run(r.id)).state for r in (waits, taken, other)]
    assert [s.name for s in states if s] == ["Unchanged", "Pending", "Scheduled"]
    assert states[0] is not None and states[0].message == "Nothing is new."
    assert await place.client.propose_all(meant, ended) == set()


async def test_a_run_is_called_otherwise(place: Place) -> None:
    run = await place.dispatched()
    await place.client.rename(run.id, "otherwise")
    assert (await place.now(run)).name == "otherwise"
    with pytest.raises(ObjectNotFound):
        await place.client.rename(uuid4(), "nobody")


async def test_tasks_are_dispatched_together(place: Place) -> None:
    ended = await place.dispatched("2")
    await place.put(ended, Cancelled(), force=True)
    tasks = [Task(t, f"Task {t}", "", "Todo") for t in ("1", "2", "3")]
    due = [Dispatch(task, store.FIRST_VISIT, datetime.now(UTC)) for task in tasks]
    poll = uuid4()
    created, refused = await place.dispatching.dispatch_all(place.client, place.route, due, poll)
    assert (set(created), refused) == ({"1", "2", "3"}, [])
    assert created["2"] != ended.id, "its key was that of a run that has ended"
    run = await place.client.read_run(created["1"])
    assert (run.name, record_of(run).poll) == ("Task 1", str(poll))
    again, _ = await place.dispatching.dispatch_all(place.client, place.route, due, poll)
    assert again == created


async def test_runs_are_found_by_app_route_task_and_state(place: Place) -> None:
    first, other = await place.dispatched("1"), await place.dispatched("2", "Next")
    working = await place.at_work("3")
    assert {r.id for r in await place.found(StateType.SCHEDULED)} == {first.id, other.id}
    assert [r.id for r in await place.found(*StateType, route="Next")] == [other.id]
    assert [r.id for r in await place.found(*StateType, task_ids=["1"])] == [first.id]
    assert await store.find_runs(place.client, app_name("none"), [*StateType]) == []
    assert await store.count_waiting(place.client, place.app, "Todo") == 1
    assert await store.count_working(place.client, place.app) == 1
    assert await store.count_working(place.client, place.app, but=[working.id]) == 0
    assert await store.count_working(place.client, place.app, task_id="1") == 0
    queue = working.work_queue_id
    assert await store.count_working(place.client, place.app, queue_id=queue) == 1
    active = await store.active_runs(place.client, place.app)
    assert {t: r.id for t, r in active.items()} == {"1": first.id, "2": other.id, "3": working.id}


async def test_the_newest_run_that_ended_is_the_last(place: Place) -> None:
    runs: list[FlowRun] = []
    for state in (Completed(), Failed(), Cancelled()):
        runs.append(await place.dispatched())
        await place.put(runs[-1], state, force=True)
    last = await store.last_finished_runs(place.client, place.app, ["1", "2"])
    assert {t: r.id for t, r in last.items()} == {"1": runs[-1].id}
    newest = await place.found(*store.FINISHED, sort=FlowRunSort.END_TIME_DESC, limit=2)
    assert [r.id for r in newest] == [runs[2].id, runs[1].id]


async def test_waiting_runs_are_found_in_the_order_in_which_they_are_due(place: Place) -> None:
    now = datetime.now(UTC)
    due = [
        Dispatch(Task(t, t, "", "Todo"), store.FIRST_VISIT, now - timedelta(seconds=ago))
        for t, ago in (("1", 1), ("2", 3), ("3", 2))
    ]
    await place.dispatching.dispatch_all(place.client, place.route, due, None)
    found = await place.found(StateType.SCHEDULED)
    assert [names.task_of(r.tags) for r in found] == ["2", "3", "1"]


async def test_each_start_is_counted_but_a_resume_is_not(place: Place) -> None:
    run = await place.at_work()
    assert run.run_count == 1
    await place.put(run, AwaitingRetry(scheduled_time=datetime.now(UTC)))
    await place.put(run, Running())
    assert (await place.now(run)).run_count == 2
    assert await place.put(run, Suspended(timeout_seconds=600))
    assert (await place.now(run)).state_type is StateType.PAUSED
    await place.client.resume_flow_run(run.id)
    assert (await place.now(run)).state_name == "Resuming"
    await place.put(run, Running())
    assert (await place.now(run)).run_count == 2
    await place.put(run, AwaitingRetry(scheduled_time=datetime.now(UTC)))
    await place.put(run, Running())
    assert (await place.now(run)).run_count == 3, "only the start that follows is a resume"


@pytest.mark.parametrize(
    ("before", "after", "accepted", "found"),
    [
        ("waiting", lambda: Cancelling(message="by me"), False, StateType.CANCELLED),
        ("suspended", lambda: Cancelling(message="by me"), False, StateType.CANCELLED),
        ("pending", lambda: Cancelling(message="by me"), True, StateType.CANCELLING),
        ("working", lambda: Cancelling(message="by me"), True, StateType.CANCELLING),
        ("completed", lambda: Cancelling(message="by me"), False, StateType.COMPLETED),
        ("completed", lambda: Crashed(message="by me"), False, StateType.COMPLETED),
        ("crashed", lambda: Crashed(message="by me"), False, StateType.CRASHED),
        ("working", lambda: Crashed(message="by me"), True, StateType.CRASHED),
        ("cancelling", lambda: Crashed(message="by me"), False, StateType.CANCELLING),
        ("cancelling", lambda: Cancelled(message="by me"), True, StateType.CANCELLED),
        ("working", lambda: Pending(message="by me"), False, StateType.RUNNING),
        ("pending", lambda: Pending(message="by me"), False, StateType.PENDING),
        ("cancelled", lambda: Pending(message="by me"), False, StateType.CANCELLED),
        ("waiting", lambda: Suspended(message="by me"), False, StateType.SCHEDULED),
        ("working", lambda: Failed(message="by me"), True, StateType.FAILED),
        ("failed", lambda: Scheduled(message="by me"), True, StateType.SCHEDULED),
        ("crashed", lambda: Cancelled(message="by me"), True, StateType.CANCELLED),
    ],
)
async def test_a_state_is_taken_or_refused(
    place: Place,
    before: str,
    after: Callable[[], State[Any]],
    accepted: bool,
    found: StateType,
) -> None:
    run = await place.dispatched()
    way: dict[str, list[State[Any]]] = {
        "waiting": [],
        "pending": [Pending()],
        "working": [Pending(), Running()],
        "suspended": [Pending(), Running(), Suspended(timeout_seconds=600)],
        "cancelling": [Pending(), Running(), Cancelling()],
        "completed": [Pending(), Running(), Completed()],
        "failed": [Pending(), Running(), Failed()],
        "crashed": [Pending(), Running(), Crashed()],
        "cancelled": [Cancelled()],
    }
    for state in way[before]:
        assert await place.put(run, state)
    assert await place.put(run, after()) is accepted
    now = await place.now(run)
    assert now.state is not None
    assert (now.state_type, now.state.type) == (found, found)
    assert (now.state.message == "by me") is accepted, "a refusal drops the message"


async def test_force_overrules_whatever_there_is(place: Place) -> None:
    run = await place.at_work()
    for state in (Scheduled(name="Mine"), Running(), Completed(), Crashed(), Suspended()):
        assert await place.put(run, state, force=True)
        now = await place.now(run)
        assert (now.state_type, now.state_name) == (state.type, state.name)
    assert now.run_count == 2
    seen = [s.name for s in await place.client.read_states(run.id)]
    assert seen[-4:] == ["Running", "Completed", "Crashed", "Suspended"]


async def test_a_failure_with_attempts_left_becomes_a_retry(place: Place) -> None:
    run = await place.at_work()
    await RunLog(place.client, run, RetryPolicy(max_retries=1)).open("w", "a token")
    assert not await place.put(run, Failed())
    assert (await place.now(run)).state_name == "AwaitingRetry"
    await place.put(run, Running())
    assert await place.put(run, Failed())


async def test_a_run_that_is_not_due_does_not_start(place: Place) -> None:
    run = await place.at_work()
    soon = datetime.now(UTC) + timedelta(hours=1)
    await place.put(run, AwaitingRetry(scheduled_time=soon))
    assert not await place.put(run, Running())
    await place.put(run, Pending())
    assert not await place.put(run, Running()), "nor by way of Pending"


async def test_labels_are_added_to_and_never_removed(place: Place) -> None:
    run = await place.dispatched()
    await place.client.add_labels(run.id, {"a": 1, "b": "x", "c": True, "d": 0.5})
    await place.client.add_labels(run.id, {"b": "", "c": False})
    labels = (await place.now(run)).labels
    assert {k: labels[k] for k in "abcd"} == {"a": 1, "b": "", "c": False, "d": 0.5}
    assert [type(labels[k]) for k in "abcd"] == [int, str, bool, float]


async def test_a_record_is_read_as_it_was_written(place: Place) -> None:
    run = await place.at_work()
    log = RunLog(place.client, run, RetryPolicy(max_retries=2))
    await log.open("w", "a token", "v1")
    await log.give_back(crash=True)
    now = await place.now(run)
    assert record_of(now) == log.record
    assert (log.record.starts, log.record.given_back, log.record.crashes) == (1, 1, 1)
    assert now.empirical_policy.retries == 3


async def test_a_query_may_name_as_many_tags_as_are_allowed(place: Place) -> None:
    """And no more: Prefect's answer to many is an error, on SQLite only."""
    run = await place.dispatched()
    tags = [*(names.task_tag(str(n)) for n in range(100, 99 + MOST_TAGS)), names.task_tag("1")]
    query = RunQuery(tags=[names.app_tag(place.app), names.AGENT_TAG], any_tags=tags)
    assert [found.id for found in await place.client.find(query)] == [run.id]
    with pytest.raises(ValueError, match="any_tags"):
        RunQuery(any_tags=[*tags, "one too many"])


async def test_waiting_runs_of_very_many_tasks_are_found(place: Place) -> None:
    run = await place.dispatched()
    others = [str(n) for n in range(100, 350)]
    nothing = OpenRuns({}, [], [], is_whole=False)
    known = await open_runs.renewed(place.client, place.app, nothing, [*others, "1"])
    assert {task: r.id for task, r in known.by_task.items()} == {"1": run.id}
    found = await store.find_runs(place.client, place.app, store.WAITING, task_ids=[*others, "1"])
    assert [r.id for r in found] == [run.id]


async def test_what_is_noted_as_an_input_is_the_starts(place: Place) -> None:
    run = await place.at_work()
    await RunLog(place.client, run, RetryPolicy()).open("w", "a token")
    now = await place.now(run)
    for start in (2, 11):
        await note_move(place.client, run.id, start, "Done")
    assert not await has_moved_itself(place.client, now)
    await note_move(place.client, run.id, 1, "Done")
    assert await has_moved_itself(place.client, now)


async def test_a_limit_is_read_as_it_was_written_until_it_is_forgotten(place: Place) -> None:
    account, reset = f"claude:{place.app}", datetime.now(UTC) + timedelta(hours=3)
    fault = Fault(FaultKind.PROVIDER, retry_at=reset, text="5-hour")
    limit = await limits.reached(place.client, account, fault, datetime.now(UTC))
    assert await limits.read(place.client, account) == limit
    later = replace(fault, retry_at=reset + timedelta(hours=1))
    longer = await limits.reached(place.client, account, later, datetime.now(UTC))
    assert longer == await limits.read(place.client, account)
    for _ in range(2):
        await limits.forget(place.client, account)
        assert await limits.read(place.client, account) is None


async def test_a_deleted_run_is_missed_by_whoever_asks_for_it(place: Place) -> None:
    run = await place.at_work()
    log = RunLog(place.client, run, RetryPolicy())
    await place.client.delete_flow_run(run.id)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: place.client.read_run(run.id),
        lambda: place.client.propose(run.id, Completed()),
        lambda: place.client.delete_flow_run(run.id),
    ]
    for way in ways:
        with pytest.raises((ObjectNotFound, PrefectHTTPStatusError)):
            await way()
    await log.open("w", "a token")
    assert log.is_deleted
    assert (await place.dispatched()).id != run.id, "its key is free again"


async def test_of_two_that_end_a_cancellation_one_was_first(place: Place) -> None:
    run = await place.at_work()
    assert await place.put(run, Cancelling(message="by me"))
    before = await place.now(run)
    answers = [await place.client.propose(run.id, Cancelled()) for _ in range(2)]
    assert [a.accepted for a in answers] == [True, True], "both are told that theirs is taken"
    first = [await clearing.ended_first(place.client, before, a.state) for a in answers]
    assert first == [True, False]


@pytest.mark.parametrize(
    ("states", "wished"),
    [
        ([Cancelled()], True),
        ([Cancelled(name=StateName.SUPERSEDED)], False),
        ([Pending(), Running(), Cancelled()], False),
        ([Pending(), Running(), Cancelling(), Cancelled()], True),
    ],
    ids=["while it waited", "by a rule", "by its flow", "while it worked"],
)
async def test_a_cancellation_is_a_wish_or_not(
    place: Place, states: list[State[Any]], wished: bool
) -> None:
    run = await place.dispatched()
    for state in states:
        await place.put(run, state)
    assert await clearing.is_wished(place.client, await place.now(run)) is wished


async def test_runs_are_counted_and_found_by_what_they_are(place: Place) -> None:
    runs = [await place.dispatched(task) for task in "123"]
    await place.put(runs[0], AwaitingRetry(scheduled_time=datetime.now(UTC)), force=True)
    await place.put(runs[1], Completed(), force=True)
    tags = [names.app_tag(place.app), names.AGENT_TAG]
    ended = await place.now(runs[1])
    assert ended.end_time is not None
    queries: list[tuple[RunQuery, set[int]]] = [
        (RunQuery(tags=tags), {0, 1, 2}),
        (RunQuery(tags=tags, any_tags=[names.task_tag("1"), names.task_tag("3")]), {0, 2}),
        (RunQuery(tags=tags, named=["AwaitingRetry"]), {0}),
        (RunQuery(tags=tags, states=store.WAITING, not_named=["AwaitingRetry"]), {2}),
        (RunQuery(ids=[runs[0].id, runs[1].id], states=store.FINISHED), {1}),
        (RunQuery(tags=tags, ended_after=ended.end_time - timedelta(seconds=5)), {1}),
        (RunQuery(tags=tags, ended_before=ended.end_time - timedelta(seconds=5)), set()),
    ]
    for query, expected in queries:
        found = {run.id for run in await place.client.find(query)}
        assert found == {runs[i].id for i in expected}, query
        assert await place.client.count(query) == len(expected), query
    assert await place.client.count(RunQuery(tags=tags, but=[runs[0].id])) == 2


async def test_runs_are_deleted_together(place: Place) -> None:
    runs = [await place.dispatched(task) for task in "12"]
    await place.put(runs[0], Pending())
    query = RunQuery(ids=[run.id for run in runs], states=[StateType.SCHEDULED])
    assert await place.client.delete(query) == 1
    assert [r.id for r in await place.found(*StateType)] == [runs[0].id]


async def test_a_value_is_kept_until_it_is_forgotten(place: Place) -> None:
    name, tag, client = f"athanore-test-{uuid4().hex[:12]}", f"t-{uuid4().hex}", place.client
    assert await client.value(name) is None
    await client.keep(name, {"a": [1, "x"]}, [tag])
    await client.keep(name, {"a": 2}, [tag])
    assert not await client.keep_first(name, "other")
    kept = await client.value(name)
    assert kept is not None and kept.value == {"a": 2} and kept.updated is not None
    assert [k.value for k in await client.values([tag])] == [{"a": 2}]
    for _ in range(2):
        await client.forget(name)
        assert await client.value(name) is None
    assert await client.keep_first(name, "mine", [tag])
    assert [k.value for k in await client.values([tag])] == ["mine"]
    await client.forget(name)


async def test_a_key_of_a_person_is_found_until_it_is_revoked(place: Place) -> None:
    client, app, secret = place.client, place.app, b"an operators' key"
    first, token = await keys.create(client, app, "eve", "read", secret)
    second, _ = await keys.create(client, app, "bob", "steer", secret)
    assert await keys.of_app(client, app) == [first, second]
    assert await keys.of_app(client, app_name("other")) == []
    assert await keys.find(client, app, token, secret) == first
    assert await keys.find(client, app, token, b"another key") is None
    assert await keys.find(client, app_name("other"), token, secret) is None
    for _ in range(2):
        await keys.revoke(client, first)
    assert await keys.find(client, app, token, secret) is None
    assert await keys.of_app(client, app) == [second]
    await keys.revoke(client, second)


async def test_an_event_is_as_old_as_the_store_says(place: Place) -> None:
    name, resource, now = "athanore.test", f"athanore.run.{uuid4()}", datetime.now(UTC)
    await place.came(name, f"athanore.run.{uuid4()}")
    assert await place.client.since_event(name, resource, now) is None
    await place.came(name, resource)
    for ahead in (-3, 3):
        ours = now + timedelta(hours=ahead)
        ago = await when_known(lambda ours=ours: place.client.since_event(name, resource, ours))
        assert timedelta(0) <= ago < timedelta(minutes=10)


async def when_known[T](ask: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until the answer is there: Prefect writes events some seconds after they came."""
    for _ in range(2400):
        if (found := await ask()) is not None:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the event did not come")


async def test_the_routes_of_an_app_are_found(place: Place) -> None:
    tags = ["athanore", names.app_tag(place.app), names.AGENT_TAG]
    found = await place.client.deployments(tags)
    assert [names.route_of(d.parameters) for d in found] == ["Next", "Todo"]
    with pytest.raises(ObjectNotFound):
        await place.client.switches(place.app, "Nowhere")


async def test_of_what_agents_hand_in_the_newest_of_a_start_counts(place: Place) -> None:
    run = await place.at_work()
    for text in ("first", "second"):
        await hand_in(place.client, run.id, 1, text)
    await hand_in(place.client, run.id, 11, "of another")
    assert await handed_in(place.client, run.id, 1) == "second"
    assert len(await place.client.notes(run.id, "athanore-result-1-")) == 1
    await place.client.drop_note(run.id, "not-there")
    assert await handed_in(place.client, run.id) == "of another"


async def test_a_note_of_a_key_is_kept_once(place: Place) -> None:
    run = await place.dispatched()
    assert await place.client.note_first(run.id, "athanore-question-a-end", "first")
    assert not await place.client.note_first(run.id, "athanore-question-a-end", "second")
    assert await place.client.note_first(run.id, "athanore-question-a", "a question")
    await place.client.note(run.id, "something-else", "no")
    assert dict(await place.client.notes(run.id, "athanore-question-")) == {
        "athanore-question-a-end": "first",
        "athanore-question-a": "a question",
    }
    with pytest.raises(ObjectNotFound):
        await place.client.note_first(uuid4(), "athanore-question-a", "nobody's")


def asked(run: FlowRun, text: str = "Which?") -> Question:
    """A question of a run."""
    return Question(
        id="abc", run_id=run.id, task_id="1", text=text, choices=("red", "blue"),
        asked_at=datetime.now(UTC),
    )  # fmt: skip


async def test_a_run_waits_for_an_answer_that_fits_its_form(place: Place) -> None:
    """The state first, then the form: what was saved before would be deleted by Prefect 3.9."""
    run = await place.at_work()
    question, client = asked(run), place.client
    assert not (await client.resume(run.id, {"answer": "red"})).accepted
    assert (await client.propose(run.id, questions.suspended(question, 1))).accepted
    assert not (await client.resume(run.id, {"answer": "red"})).accepted  # no form yet
    assert await questions.save_form(client, await place.now(run), question)
    assert not await questions.save_form(client, await place.now(run), question)
    for wrong in ({}, {"answer": "green"}):
        assert not (await client.resume(run.id, wrong)).accepted
        assert (await place.now(run)).state_type is StateType.PAUSED
    assert (await client.resume(run.id, {"answer": "blue", "by": "eve"})).accepted
    assert not (await client.resume(run.id, {"answer": "red"})).accepted
    now = await place.now(run)
    assert (now.state_type, now.run_count) == (StateType.SCHEDULED, run.run_count)
    said = dict(await client.notes(run.id, f"{questions.PREFIX}abc-1-response"))
    assert [json.loads(s) for s in said.values()] == [{"answer": "blue", "by": "eve"}]


async def test_a_run_is_suspended_once_for_each_key(place: Place) -> None:
    run = await place.at_work()
    question, client = asked(run), place.client
    for start in (1, 2):
        assert (await client.propose(run.id, questions.suspended(question, start))).accepted
        await client.impose(run.id, State(type=StateType.SCHEDULED, name="Resuming"))
        await place.put(run, Pending())
        await place.put(run, Running())
    assert not (await client.propose(run.id, questions.suspended(question, 2))).accepted


async def test_a_run_that_waits_for_an_answer_is_cancelled_at_once(place: Place) -> None:
    run = await place.at_work()
    assert (await place.client.propose(run.id, questions.suspended(asked(run), 1))).accepted
    await place.client.propose(run.id, Cancelling(message="not now"))
    assert (await place.now(run)).state_type is StateType.CANCELLED


# -- rules that decide by what the store says; all cases of them are in tests/unit/test_rules*.py --


async def test_a_slot_is_taken_by_who_works(place: Place) -> None:
    first, second = [await place.at_work(task) for task in ("1", "2")]
    await place.limited(first.work_queue_id, 1)
    full = "all 1 slots of the route are taken"
    assert await Slots().no_slot(place.client, place.app, first) == full
    assert await place.put(second, Completed())
    assert await Slots().no_slot(place.client, place.app, first) is None


async def test_a_label_has_as_many_agents_as_it_may(place: Place) -> None:
    most, slots, full = {"big": 1}, Slots(), "1 of 1 agents with label 'big' busy"
    first, second = [await place.at_work(task) for task in ("1", "2")]
    logs = [RunLog(place.client, run, RetryPolicy()) for run in (first, second)]
    assert await slots.no_label_slot(place.client, place.app, logs[0], most) is None
    assert await slots.no_label_slot(place.client, place.app, logs[1], most) == full
    due = datetime.now(UTC) + timedelta(minutes=10)
    await place.put(second, AwaitingConcurrencySlot(scheduled_time=due))
    now = datetime.now(UTC)
    counted = [await label_caps.open_by_label(place.client, place.app, now)]
    await place.put(first, Completed())
    counted.append(await label_caps.open_by_label(place.client, place.app, now))
    assert [c["big"] for c in counted] == [2, 1], "who was refused has its turn first"


async def test_a_run_that_waits_gives_way_when_its_task_is_another_routes(place: Place) -> None:
    app = await place.with_routes("Todo", red={"labels": ["red"]}, blue={"labels": ["blue"]})
    task = Task("1", "Fix it", "Todo", labels=("red",))
    run = (await runs.dispatch(place.client, app, task)).run
    assert (await runs.make_way(place.client, app, [task]))["1"].id == run.id
    assert await runs.make_way(place.client, app, [replace(task, labels=("blue",))]) == {}
    after = await place.now(run)
    assert after.state_name == StateName.SUPERSEDED
    assert after.state is not None and "'blue' takes it now" in (after.state.message or "")


async def test_a_task_that_is_held_is_dispatched_when_what_blocks_it_has_ended(
    place: Place,
) -> None:
    app = await place.with_routes("Todo", Todo={"respect_blockers": True})
    board = place.dispatcher.board
    first = board.create_task("In Progress", "First").id
    held = board.create_task("Todo", "Second", f"Blocked by: #{first}")
    assert await runs.dispatch_if_watched(place.client, app, held) is None
    await runs.dispatch_unblocked(place.client, app, first)
    assert await place.found(*store.NOT_TAKEN) == []
    board.move_task(first, "Done")
    await runs.dispatch_unblocked(place.client, app, first)
    assert [names.task_of(r.tags) for r in await place.found(*store.NOT_TAKEN)] == [held.id]
