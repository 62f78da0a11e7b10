"""Pausing a route: its polls stop, and no agent starts. Running agents are left alone.

A route that pauses itself may resume by itself: a poll with `resume=True` is scheduled in Prefect
for that time, so that it outlives the worker.

The pause is kept where Prefect's own UI shows and changes it: the poll's deployment (with its
schedule) and the route's work queue. That the route paused itself, and why, is a variable in
Prefect: people may write what they like into the description of the queue, and a pause without
such a mark is a person's. Note that on PostgreSQL Prefect leaves a paused queue's
running runs out of the pool's limit; the gate in `limits` still counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

from prefect.client.schemas.objects import WorkQueue
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.errors import DispatchError
from athanore.runs.events.shapes import ROUTE_PAUSED, RoutePaused
from athanore.runs.port import NewRun, RunStore, Switches

RESUME = "resume"
"""The parameter of a poll that ends the route's own pause first."""

_MARK = "athanore-pause"
_EARLY: Final = timedelta(minutes=1)
"""So much before a pause is over the poll that ends it may begin."""


def queue_description(route: str, host: str | None = None) -> str:
    """What a route's work queue says of itself while the route is not paused.

    Args:
        host: the label of the hosts on which the route's agents run; None for any.
    """
    where = "" if host is None else f", on hosts with the label {host!r} only"
    return f"Tasks of {route!r}; served in order of priority{where}."


async def pause(
    prefect: RunStore,
    app: str,
    route: str,
    *,
    was: Iterable[str] = (),
    reason: str = "",
    resume_at: datetime | None = None,
    account: str = "",
    is_missing: bool = False,
    host: str | None = None,
) -> None:
    """Pause a route; safe to repeat.

    Args:
        was: what the route was called before; runs that it has under these names wait, too.
        reason: why the route was paused by itself; shown on its work queue, and told by an event.
            A route that is paused already stays as it is.
        resume_at: when such a route tries again; None: a person resumes it.
        account: whose limit at a provider pauses it; the reason says until when.
        is_missing: it is paused because the code has it no more; see `missing`. That replaces its
            own pause, which would end by itself.
        host: see `queue_description`.

    Raises:
        DispatchError: the route is not deployed.
    """
    switches = await _switches(prefect, app, route)
    shown = reason
    if not reason:
        await forget_mark(prefect, app, route)
    elif switches.agents_paused:
        # By a person, or because another task of the route failed in the same way.
        mark = (await _marks(prefect, app)).get(route) if is_missing else None
        if mark is not None and not mark.get("is_missing"):
            await _mark(prefect, app, mark | {"is_missing": True, "was_own": True})
        return
    else:
        again = f" It tries again at {resume_at:%Y-%m-%d %H:%M} UTC." if resume_at else ""
        shown = reason if account else f"{reason}{again}"
        mark = {
            "route": route,
            "reason": shown,
            "account": account,
            "resume_at": None if resume_at is None else resume_at.isoformat(),
            "is_missing": is_missing,
        }
        await _mark(prefect, app, mark)
    if resume_at is not None:  # first: one that is paused already stays as it is
        again_then = NewRun(
            name=f"resume {route}",
            due=resume_at,
            parameters={RESUME: True},
            message="The route resumes by itself.",
        )
        await prefect.create(switches.poll, again_then)
    await prefect.pause_polls(switches)
    if switches.queue is not None:
        description = shown or queue_description(route, host)
        await prefect.switch_agents(switches.queue, paused=True, description=description)
    await switch_former(prefect, app, was, paused=True)
    if reason:
        resource = {
            "prefect.resource.id": names.route_resource(app, route),
            "prefect.resource.name": route,
            "athanore.app": app,
        }
        told: RoutePaused = {"reason": reason}
        emit_event(event=ROUTE_PAUSED, resource=resource, payload={**told})


async def resume_by_itself(
    prefect: RunStore,
    app: str,
    route: str,
    now: datetime,
    *,
    was: Iterable[str] = (),
    host: str | None = None,
) -> bool:
    """Resume a route that paused itself, if that pause is over, and say whether it did.

    One that a person paused, or that waits for a person, stays paused; so does one that has paused
    itself again since it was said when this is to happen.

    Args:
        now: by Prefect's clock.
        was: see `pause`.
        host: see `queue_description`.

    Raises:
        DispatchError: the route is not deployed.
    """
    switches = await _switches(prefect, app, route)
    mark = (await _marks(prefect, app)).get(route)
    if not switches.agents_paused or mark is None or mark.get("is_missing"):
        return False
    if not _is_over(mark, now):
        return False
    await resume(prefect, app, route, was=was, host=host)
    return True


async def let_found_go_on(
    prefect: RunStore,
    app: str,
    route: str,
    now: datetime,
    *,
    was: Iterable[str] = (),
    host: str | None = None,
) -> bool:
    """Resume a route that was paused because its code had it no more, and say whether it did.

    One that had paused itself before stays paused for what is left of that.

    Args:
        now: by Prefect's clock.
        was: see `pause`.
        host: see `queue_description`.

    Raises:
        DispatchError: the route is not deployed.
    """
    switches = await _switches(prefect, app, route)
    mark = (await _marks(prefect, app)).get(route)
    if not switches.agents_paused or mark is None or not mark.get("is_missing"):
        return False
    if mark.get("was_own") and not _is_over(mark, now):
        await _mark(prefect, app, mark | {"is_missing": False})
        return False
    await resume(prefect, app, route, was=was, host=host)
    return True


async def resume(
    prefect: RunStore, app: str, route: str, *, was: Iterable[str] = (), host: str | None = None
) -> None:
    """Let a route go on, whichever way it was paused; safe to repeat.

    Args:
        was: see `pause`.
        host: see `queue_description`.

    Raises:
        DispatchError: the route is not deployed.
    """
    switches = await _switches(prefect, app, route)
    await prefect.resume_polls(switches)
    if switches.queue is not None:
        description = queue_description(route, host)
        await prefect.switch_agents(switches.queue, paused=False, description=description)
    await switch_former(prefect, app, was, paused=False)
    await forget_mark(prefect, app, route)


async def switch_former(
    prefect: RunStore, app: str, former: Iterable[str], *, paused: bool
) -> None:
    """Stop, or let start, the agents of runs that a route has under former names.

    Such runs stay in the work queue of the old name, because Prefect cannot give them another.
    """
    for name in former:
        tags = ["athanore", names.app_tag(app), names.route_tag(name), names.AGENT_TAG]
        for deployment in await prefect.deployments(tags):
            if deployment.work_queue_id is not None:
                await prefect.switch_agents(
                    deployment.work_queue_id, paused=paused, description=queue_description(name)
                )


async def is_own(prefect: RunStore, app: str, route: str) -> bool:
    """Tell whether a pause of a route, if there is one, is its own and no person's."""
    return await prefect.value(_mark_name(app, route)) is not None


async def paused_parts(prefect: RunStore, app: str, route: str) -> tuple[str, ...]:
    """Name what of a route is paused: `polls`, `agents`, both or nothing.

    Raises:
        DispatchError: the route is not deployed.
    """
    switches = await _switches(prefect, app, route)
    polls = ("polls",) if switches.polls_paused else ()
    return (*polls, "agents") if switches.agents_paused else polls


class OwnPause(NamedTuple):
    """A pause of a route by itself: why, and when it tries again; None: a person resumes it."""

    reason: str
    until: datetime | None


async def own_pauses(
    prefect: RunStore, app: str, queues: Iterable[WorkQueue]
) -> dict[str, OwnPause]:
    """Say of the routes that paused themselves why they did, by their names.

    Args:
        queues: work queues of the app's agents, which are called as their routes.
    """
    paused = {names.unslug(q.name) for q in queues if q.is_paused}
    if not paused:
        return {}
    marks = await _marks(prefect, app)
    return {route: _own_pause(mark) for route, mark in marks.items() if route in paused}


def _own_pause(mark: dict[str, Any]) -> OwnPause:
    until = mark.get("resume_at")
    return OwnPause(mark["reason"], None if until is None else datetime.fromisoformat(until))


def _is_over(mark: dict[str, Any], now: datetime) -> bool:
    """Whether a pause of a route by itself is over; one without an end a person has to end."""
    until = _own_pause(mark).until
    return until is not None and until <= now + _EARLY


async def _marks(prefect: RunStore, app: str) -> dict[str, dict[str, Any]]:
    """The marks of the routes of an app that paused themselves, by the names of the routes."""
    kept = await prefect.values([_MARK, names.app_tag(app)])
    return {mark.value["route"]: mark.value for mark in kept}


async def missing(prefect: RunStore, app: str) -> list[str]:
    """The routes of an app that are paused because its code has them no more."""
    marks = await _marks(prefect, app)
    return [route for route, mark in marks.items() if mark.get("is_missing")]


async def account_waited_for(prefect: RunStore, app: str, route: str) -> str:
    """Whose limit at a provider a route waits for; "" if it is paused for another reason."""
    mark = await prefect.value(_mark_name(app, route))
    return "" if mark is None else str(mark.value.get("account", ""))


async def see_to_own(
    prefect: RunStore,
    app: str,
    route: str,
    now: datetime,
    margin: timedelta,
    *,
    was: Iterable[str] = (),
    host: str | None = None,
) -> None:
    """Do what is left of a pause of a route by itself; safe to repeat.

    The poll that was to end it may be lost, and a worker in the middle of pausing or resuming it. A
    person may have ended it in Prefect's UI, wholly or in part: then the next one is theirs.

    Args:
        now: by Prefect's clock.
        margin: nothing is done about a pause that is as new as that: it may be on its way.
        was: see `pause`.
        host: see `queue_description`.

    Raises:
        DispatchError: the route is not deployed.
    """
    mark = await prefect.value(_mark_name(app, route))
    if mark is None or mark.updated is None or mark.updated > now - margin:
        return
    switches = await _switches(prefect, app, route)
    if switches.queue is None:
        return
    is_missing = bool(mark.value.get("is_missing"))
    if switches.agents_paused and (is_missing or not _is_over(mark.value, now - _EARLY)):
        return
    if not is_missing and (switches.agents_paused or switches.polls_paused):
        await resume(prefect, app, route, was=was, host=host)
    else:
        await forget_mark(prefect, app, route)


async def _switches(prefect: RunStore, app: str, route: str) -> Switches:
    try:
        return await prefect.switches(app, route)
    except ObjectNotFound as exc:
        raise DispatchError(
            f"Route {route!r} is not deployed; run `athanore deploy` first."
        ) from exc


def _mark_name(app: str, route: str) -> str:
    # Prefect takes short names of few characters only.
    return f"{_MARK}-{sha256(names.route_resource(app, route).encode()).hexdigest()[:32]}"


async def _mark(prefect: RunStore, app: str, mark: dict[str, Any]) -> None:
    """Note that a route pauses itself; before it does, so that a pause is never without it."""
    await prefect.keep(_mark_name(app, mark["route"]), mark, [_MARK, names.app_tag(app)])


async def forget_mark(prefect: RunStore, app: str, route: str) -> None:
    """Forget that a route paused itself: from now on its pause is a person's."""
    await prefect.forget(_mark_name(app, route))
