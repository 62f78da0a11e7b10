"""Routes that nobody has paused, and whose queue nothing has looked at for some minutes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs.capacity.fleet import living
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App

OVERDUE = timedelta(minutes=5)
"""How long a poll may be due or at work before that is told."""

_MEND_STUCK = "Look at the poll in Prefect's UI, then have the app begin anew: athanore restart"
_NOT_TAKEN = "The workers that are online do not take its polls: they run other code, or are stuck."
_AT_WORK = (StateType.PENDING, StateType.RUNNING)


class Unpolled(NamedTuple):
    """Since when nothing has polled a route, why not, and what mends that."""

    since: datetime
    why: str
    mend: str


async def unpolled(prefect: RunStore, app: App, routes: Collection[str]) -> dict[str, Unpolled]:
    """The routes that are not polled although they should be, by name.

    Nearly always that is one request, for polls that are late or at work.

    Args:
        routes: the names of those whose polls are deployed and not paused.
    """
    before = app.clock.now() - OVERDUE
    found = await prefect.find(
        RunQuery(
            tags=[names.app_tag(app.name), names.POLL_TAG],
            states=[StateType.SCHEDULED, *_AT_WORK],
            named=[PrefectState.LATE, PrefectState.PENDING, PrefectState.RUNNING],
        )
    )
    at_work = _oldest((r for r in found if r.state_type in _AT_WORK), before)
    late = _oldest((r for r in found if r.state_type not in _AT_WORK), before)
    stuck = {route: _stuck(since) for route, since in at_work.items() if route in routes}
    overdue = {r: since for r, since in late.items() if r in routes and r not in stuck}
    if not overdue:
        return stuck
    why, mend = await _why(prefect, app)
    if why == _NOT_TAKEN:  # else nobody can have polled: that need not be asked of each route
        polled = [r for r in overdue if await _has_polled(prefect, app, r, before)]
        overdue = {r: since for r, since in overdue.items() if r not in polled}
    return stuck | {route: Unpolled(since, why, mend) for route, since in overdue.items()}


def _oldest(polls: Iterable[FlowRun], before: datetime) -> Mapping[str, datetime]:
    """Since when the oldest poll of each route is due, or at work, if that is long ago."""
    found: dict[str, datetime] = {}
    for poll in polls:
        due = poll.next_scheduled_start_time or poll.expected_start_time
        # One that was late for hours may have been taken just now.
        since = poll.state.timestamp if poll.state_type in _AT_WORK and poll.state else due
        route = names.route_of(poll.parameters)
        if since is not None and since < min(before, found.get(route, before)):
            found[route] = since
    return found


def _stuck(since: datetime) -> Unpolled:
    return Unpolled(
        since,
        "Its poll has begun, and does not end: the board does not answer, or a function of "
        "the route does not return.",
        _MEND_STUCK,
    )


async def _has_polled(prefect: RunStore, app: App, route: str, since: datetime) -> bool:
    """Tell whether a poll of a route has ended since; then what is late is cleared away soon."""
    tags = [names.app_tag(app.name), names.POLL_TAG, names.route_tag(route)]
    return await prefect.count(RunQuery(tags=tags, ended_after=since)) > 0


async def _why(prefect: RunStore, app: App) -> tuple[str, str]:
    """Why polls are not taken, and what mends that."""
    pool = names.polls_pool(app.name)
    try:
        is_paused = (await prefect.work_pool(pool)).is_paused
    except ObjectNotFound:
        return f"There is no work pool {pool!r}.", "athanore deploy"
    if is_paused:
        return f"The work pool {pool!r} is paused.", f"prefect work-pool resume {pool}"
    if not await living(prefect, pool):
        return "No worker that takes polls is online.", "athanore up (or athanore worker)"
    return _NOT_TAKEN, "athanore restart (or athanore workers restart)"
