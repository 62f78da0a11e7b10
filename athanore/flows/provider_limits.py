"""A provider's usage limit: who of an app waits for its reset, and who goes first after that."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from prefect.client.schemas.objects import FlowRun

from athanore.errors import DispatchError
from athanore.models import AgentResult, Fault, FaultKind
from athanore.routes import Route
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
    """Note a limit that an agent of a route has reached, and hold all routes of the account."""
    own, now = account_of(app, route), app.clock.now()
    fault = fault or Fault(FaultKind.PROVIDER)
    limit = await limits.reached(prefect, own, fault, now, _witness(app, route))
    paused = await _pause(prefect, app, route, limit)
    for name, known in (await app.routes.read(prefect)).items():
        if name != route.name and account_of(app, known.route) == limit.account:
            await _pause(prefect, app, known.route, limit)
    return Wait(limit.in_words(now), now if paused else limit.until)


async def hold(prefect: RunStore, app: App, route: Route, run: FlowRun) -> Wait | None:
    """Say why a run may start no agent now; None if it may.

    Its route may be one of another app than that whose agent has reached the limit.
    """
    held = await app.limits.held(prefect, account_of(app, route), str(run.id))
    if held is None:
        return None
    limit, now = held.limit, app.clock.now()
    if held.another_first:
        return Wait(f"{limit.in_words(now)}; another task goes first", now + held.ask_again)
    paused = await _pause(prefect, app, route, limit)
    return Wait(limit.in_words(now), now if paused else limit.until)


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
            reason=f"{limit.in_words(app.clock.now())}.",
            resume_at=limit.until,
            account=limit.account,
        )
    except DispatchError:
        return False  # its runs wait by themselves
    return True
