"""Budgets of an attempt, its task and its route's day: what binds an agent while it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from athanore import prices
from athanore.budgets import ESTIMATED, REPORTED, Budget, Spent, midnights
from athanore.errors import DispatchError
from athanore.flows import provider_limits
from athanore.flows.provider_limits import Wait
from athanore.logs import Log
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind
from athanore.routing.routes import Route
from athanore.runs.capacity import pausing
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog
from athanore.runs.spending import Key
from athanore.runtime.accounts import meter_of
from athanore.runtime.apps import App


class Span(StrEnum):
    """What a budget is for; the words for people."""

    ATTEMPT = "budget reached"
    TASK = "budget of the task reached"
    DAY = "budget of the day reached"


@dataclass(frozen=True, slots=True)
class Overrun:
    """A budget that is used up.

    Attributes:
        text: which one, and how much of what: `budget reached: $5.02 of $5.00`.
        until: when another day begins, of a budget of the day.
    """

    text: str
    until: datetime | None = None

    def ending(self, result: AgentResult) -> AgentResult:
        """An attempt that has ended by it: never repeated; of a day it does not count."""
        fault = Fault(FaultKind.BUDGET, retry_at=self.until, text=self.text)
        return replace(
            result,
            outcome=AgentOutcome.FAILED,
            reason=self.text,
            retryable=False,
            fault=fault,
        )


class Purse:
    """What an attempt may use, and what was used before it.

    Args:
        task_id: whose attempt it is.
    """

    def __init__(
        self, prefect: RunStore, app: App, route: Route, run_log: RunLog, task_id: str
    ) -> None:
        self._prefect = prefect
        self._app = app
        self._run_log = run_log
        self._task_id = task_id
        self._names = route.names
        self._zone = app.dispatcher.settings.budget_zone
        self.meter = meter_of(app, route)
        self._budgets = {
            Span.ATTEMPT: Budget(route.max_cost_usd, route.max_tokens),
            Span.TASK: Budget(route.task_max_cost_usd, route.task_max_tokens),
            Span.DAY: Budget(route.day_max_cost_usd, route.day_max_tokens),
        }
        self._before: dict[Span, Spent] = {}

    async def look(self) -> None:
        """Read what others have used; it changes while an agent works."""
        but = Key(self._run_log.run.id, self._run_log.record.starts)
        ledger = self._app.ledger
        if self._budgets[Span.TASK]:
            self._before[Span.TASK] = await ledger.of_task(self._prefect, self._task_id, but=but)
        if self._budgets[Span.DAY]:
            since, _ = midnights(self._app.clock.now(), self._zone)
            self._before[Span.DAY] = await ledger.of_day(self._prefect, self._names, since, but=but)

    def reached(self, usage: Mapping[str, Any]) -> Overrun | None:
        """Say which budget an attempt has used up by now; None if it may go on.

        Args:
            usage: what the attempt has used; see `account`.
        """
        mine = Spent.of(usage)
        for span, budget in self._budgets.items():
            before = self._before.get(span)
            spent = mine if before is None else Spent.total((before, mine))
            if budget and (text := budget.reached(spent)):
                until = midnights(self._app.clock.now(), self._zone)[1]
                return Overrun(f"{span}: {text}", until if span is Span.DAY else None)
        return None

    @property
    def left(self) -> Budget:
        """What the attempt may use."""
        found = Budget()
        for span, budget in self._budgets.items():
            found = found.within(budget.left(self._before.get(span, Spent())))
        return found

    def account(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """What an attempt has used, with the agent, the time, and an estimate of a missing cost."""
        estimated = usage.get("cost_source") == ESTIMATED
        usage = {k: v for k, v in usage.items() if not (estimated and k == "cost_usd")}
        told = {**usage, "agent": self.meter.agent, "at": self._app.clock.now().isoformat()}
        if self.meter.model is not None:
            told.setdefault("model", self.meter.model)
        told.pop("cost_source", None)
        if Spent.of(told).cost_usd is not None:
            return told | {"cost_source": REPORTED}
        model = told.get("model") or self.meter.model
        if isinstance(model, str) and (cost := prices.estimate(model, told)) is not None:
            return told | {"cost_usd": cost, "cost_source": ESTIMATED}
        return told


async def wait_after(
    prefect: RunStore, app: App, route: Route, result: AgentResult, log: Log
) -> Wait | None:
    """What the task of an attempt waits for that came to nothing through no fault of its own.

    Its provider's limit holds all routes of the account, a budget of the day its route.
    """
    if result.has_fault(FaultKind.PROVIDER):
        return await provider_limits.reached(prefect, app, route, result.fault)
    if result.is_held and result.fault is not None and result.fault.retry_at is not None:
        return await hold(prefect, app, route, result.reason, result.fault.retry_at, log)
    return None


async def hold(
    prefect: RunStore, app: App, route: Route, text: str, until: datetime, log: Log
) -> Wait:
    """Pause a route whose budget of the day is used up, until another day begins.

    Args:
        text: which one, and how much of what; see `Overrun`.
    """
    until = until.astimezone(app.dispatcher.settings.budget_zone)
    reason = f"{text[0].upper()}{text[1:]}"
    text = f"{reason}; goes on at {until:%Y-%m-%d %H:%M} {until.tzinfo}"
    try:
        await pausing.pause(
            prefect, app.name, route.name, was=route.was, reason=f"{reason}.", resume_at=until
        )
    except DispatchError:
        return Wait(text, until)  # its runs wait by themselves
    log.warning("Route %r is paused. %s.", route.name, text, extra={"action": "route_paused"})
    return Wait(text, app.clock.now())
