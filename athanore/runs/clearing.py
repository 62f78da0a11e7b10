"""Runs that are of no use any more: cancelled while they wait, or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed

from athanore import names
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import NOBODYS_WISH, StateName
from athanore.runs.store import NOT_TAKEN, WAITING, find_runs


async def is_wished(prefect: RunStore, run: FlowRun) -> bool:
    """Tell whether somebody cancelled a run before its agent started, whatever the state is called.

    They did so while it waited, or it was asked to stop; what its flow returned is no wish.
    """
    if run.state_name in NOBODYS_WISH:
        return False
    states = await prefect.read_states(run.id)
    before = [s for s in states if s.type is not StateType.CANCELLED]
    last = max(before, key=lambda s: s.timestamp, default=None)
    return last is not None and last.type in (*WAITING, StateType.CANCELLING)


async def ended_first(prefect: RunStore, before: FlowRun, mine: State[Any] | None) -> bool:
    """Tell whether ours is the state that ended a cancellation: Prefect accepts it twice.

    Args:
        before: the run as it was when it was being cancelled.
        mine: the state that it was then given; what Prefect answered.
    """
    seen = before.state and before.state.id
    history = sorted(await prefect.read_states(before.id), key=lambda s: s.timestamp)
    place = next((i for i, s in enumerate(history) if s.id == seen), -1)
    ended = [s.id for s in history[place + 1 :] if s.type is StateType.CANCELLED]
    return mine is not None and ended[:1] == [mine.id]


async def cancel_waiting(prefect: RunStore, app: str, route: str, message: str) -> list[FlowRun]:
    """Cancel the runs of a route that no worker has taken, and return those that are left alone.

    One that has to tell the board something, or may have its task, is ended by the sweep. A Pending
    run is no matter of this: the engine that has it would run it all the same.
    """
    left: list[FlowRun] = []
    for run in await find_runs(prefect, app, NOT_TAKEN, route=route):
        if record_of(run).awaits_the_board:
            left.append(run)
        else:
            await prefect.impose(run.id, Cancelled(name=StateName.ROUTE_REMOVED, message=message))
    return left


async def delete_waiting(prefect: RunStore, ids: Sequence[UUID]) -> None:
    """Delete up to 50 runs in one request.

    Those that a worker has taken meanwhile, perhaps another one, are left alone.
    """
    await prefect.delete(RunQuery(ids=ids, states=[StateType.SCHEDULED]))


async def complete_unchanged(prefect: RunStore, polls: Sequence[FlowRun]) -> set[UUID]:
    """End up to 50 polls that nobody has taken yet as unchanged; return the ids of those ended.

    Those that a worker has taken meanwhile, perhaps another one, are left alone.
    """
    message = "The board has not changed since the last poll of this route, which found nothing."
    state = Completed(name=StateName.UNCHANGED, message=message)
    ended = await prefect.propose_all(_taken_by_nobody(polls), state)
    for poll in polls:
        # Our own server has named it; others draw a name, and this costs a request each.
        if poll.id in ended and names.is_drawn(poll.name):
            with suppress(ObjectNotFound):
                await prefect.rename(poll.id, f"poll {names.route_of(poll.parameters)}")
    return ended


async def join_polls(prefect: RunStore, polls: Sequence[FlowRun]) -> None:
    """End up to 50 polls that another one stands for: whoever has started one may look at it.

    Those that a worker has taken meanwhile, perhaps another one, are left alone.
    """
    message = "Another poll of this route looks, or has looked, since this one was due."
    state = Completed(name=StateName.JOINED, message=message)
    await prefect.propose_all(_taken_by_nobody(polls), state)


def _taken_by_nobody(polls: Sequence[FlowRun]) -> RunQuery:
    return RunQuery(ids=[poll.id for poll in polls], states=[StateType.SCHEDULED])


async def delete_empty_polls(prefect: RunStore, app: str, before: datetime) -> int:
    """Delete polls that found nothing and ended before a time; return how many."""
    query = RunQuery(
        tags=[names.app_tag(app), names.POLL_TAG],
        named=[StateName.NOTHING_READY, StateName.UNCHANGED, StateName.JOINED],
        ended_before=before,
    )
    total = 0
    while deleted := await prefect.delete(query):
        total += deleted
    return total
