"""A provider's usage limit: who of an app waits for its reset, and who goes first after that."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from prefect.client.schemas.objects import FlowRun

from athanore.errors import DispatchError
from athanore.flows.agent_choice import is_by_task
from athanore.models import AgentResult, Fault, FaultKind
from athanore.routing.routes import Route
from athanore.runs.capacity import limits, pausing
from athanore.runs.port import RunStore
from athanore.runtime.accounts import account_of
from athanore.runtime.apps import App
from athanore.texts import amount, cut

_LONGEST_KIND = 60


class Wait(NamedTuple):
    """Why a run may start no agent yet, and when it may be offered again."""

    text: str
    due: datetime


async def reached(prefect: RunStore, app: App, route: Route, fault: Fault | None) -> Wait:
    """Note a limit that an agent of a route has reached, and hold all routes of the account.

    A route whose other agent has an account without a limit is not held: that agent takes over.
    """
    own, now = account_of(app, route), app.clock.now()
    fault = fault or Fault(FaultKind.PROVIDER)
    limit = await limits.reached(prefect, own, fault, now, _witness(app, route))
    app.limits.heard()
    told = {own: limit, limit.account: limit}
    routes = await app.routes.read(prefect)
    for name, known in routes.items():
        if name == route.name or not told.keys() & _accounts(app, known.route):
            continue
        if is_by_task(app.dispatcher, known.route):
            continue  # its other tasks may have other accounts
        if (holds := await _soonest(prefect, app, known.route, told)) is not None:
            await _pause(prefect, app, known.route, holds)
    whole = routes[route.name].route if route.name in routes else route
    by_task = is_by_task(app.dispatcher, whole)
    # The agents for this task are known of the run's own route only.
    holds = await _soonest(prefect, app, route if by_task else whole, told)
    if holds is None:
        return Wait(limit.taken_over(now), now)
    if by_task:
        return Wait(holds.in_words(now), holds.until)
    paused = await _pause(prefect, app, route, holds)
    return Wait(holds.in_words(now), now if paused else holds.until)


async def choose(
    prefect: RunStore, app: App, route: Route, run: FlowRun, *, pauses: bool = True
) -> Route | Wait:
    """The route with the agent that a run may start now, or why it may start none.

    The limit may have been reached by an agent of another app. The fallback agent works while the
    account of the first is limited, also while another task tries that after the reset.

    Args:
        pauses: a limit holds the route. Not where its other tasks may have other agents.
    """
    found: list[limits.Held] = []
    for with_agent in route.by_turns():
        held = await app.limits.held(prefect, account_of(app, with_agent), str(run.id))
        if held is None:
            return with_agent
        found.append(held)
    held = min(found, key=lambda h: h.ask_again)
    limit, now = held.limit, app.clock.now()
    if held.another_first:
        return Wait(f"{limit.in_words(now)}; another task goes first", now + held.ask_again)
    paused = pauses and await _pause(prefect, app, route, limit)
    return Wait(limit.in_words(now), now if paused else limit.until)


def _accounts(app: App, route: Route) -> list[str]:
    return [account_of(app, with_agent) for with_agent in route.by_turns()]


async def _soonest(
    prefect: RunStore, app: App, route: Route, told: Mapping[str, limits.Limit]
) -> limits.Limit | None:
    """The limit that ends first, if those of all agents of a route are reached; else None.

    Args:
        told: limits that are known, by their accounts.
    """
    found: list[limits.Limit] = []
    for account in _accounts(app, route):
        limit = told.get(account) or await limits.read(prefect, account)
        if limit is None or limit.until <= app.clock.now():
            return None
        found.append(limit)
    return min(found, key=lambda limit: limit.until)


async def passed(
    prefect: RunStore, app: App, route: Route, run: FlowRun, result: AgentResult | None
) -> None:
    """Let the others start if the agent of the run that went first has reached its provider."""
    if not app.limits.goes_first(str(run.id)):
        return
    if result is not None and not result.has_fault(FaultKind.PROVIDER):
        await limits.passed(prefect, account_of(app, route), str(run.id))
        app.local_runs.wake()


async def note_near(prefect: RunStore, app: App, route: Route, told: Mapping[str, Any]) -> None:
    """Note what an agent of a route has said of usage limits that are near, by their kinds."""
    for kind, near in told.items():
        said = limits.Near(
            account_of(app, route),
            cut(kind, _LONGEST_KIND),
            amount(near.get("used")) or None,
            limits.believed(_moment(near.get("resets_at")), app.clock.now()),
            app.clock.now(),
            _witness(app, route),
        )
        await limits.is_near(prefect, said)


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _witness(app: App, route: Route) -> limits.Witness:
    return limits.Witness(app.name, route.name, socket.gethostname())


async def _pause(prefect: RunStore, app: App, route: Route, limit: limits.Limit) -> bool:
    try:
        await pausing.pause(
            prefect,
            app.name,
            route.name,
            was=route.was,
            reason=f"{limit.in_words(app.clock.now())}.",
            resume_at=limit.until,
            account=limit.account,
        )
    except DispatchError:
        return False  # its runs wait by themselves
    return True
