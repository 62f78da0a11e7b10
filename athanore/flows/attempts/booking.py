"""Books what an agent uses while it works, and stops it when a budget is used up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from athanore.flows.attempts.budgets import Overrun, Purse
from athanore.flows.attempts.transcript import Transcript
from athanore.logs import Log
from athanore.models import AgentResult, FaultKind
from athanore.runs.records.run_log import RunLog
from athanore.runtime.background import kept_up
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.seen_through import seen_through

logger = logging.getLogger("athanore")

_ENDS_BY_ITSELF = 3.0
"""Seconds for an agent that has reached a budget to end by itself. Many tell what they have used
only when all is done: their work counts."""


class Booking:
    """Follows the costs of one attempt, from its start to its end.

    What it has used is in the record of its run after each pause, so that other agents of the task
    and the route count it, and a lost worker takes little of it along.

    Args:
        every: the pause between two entries.
        also: is called with each entry and at the end, with limits that are near and new.
    """

    def __init__(
        self,
        purse: Purse,
        run_log: RunLog,
        handle: RunControl,
        transcript: Transcript,
        every: timedelta,
        also: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._purse = purse
        self._run_log = run_log
        self._handle = handle
        self._transcript = transcript
        self._every = every.total_seconds()
        self._also = also
        self._noted: dict[str, Any] = {}
        self._over = asyncio.Event()
        self._booked: object = {}
        self._overrun: Overrun | None = None
        self._stop: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._transcript.on_usage = self._check
        self._writer = asyncio.create_task(kept_up("The booking of costs", self._book))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transcript.on_usage = None
        self._over.set()
        if self._stop is not None:
            self._stop.cancel()
        if self._writer is not None:
            # Seen through: of two writers of labels at once one loses what it wrote.
            await seen_through(self._writer)

    def concluded(self, result: AgentResult) -> AgentResult:
        """The result of an agent that was stopped, or stopped itself, at a budget."""
        if result.succeeded:
            return result
        if self._overrun is None and not result.has_fault(FaultKind.BUDGET):
            return result
        usage = self._purse.account(result.usage or self._transcript.usage)
        overrun = self._purse.reached(usage) or self._overrun
        return result if overrun is None else overrun.ending(result)

    @property
    def stopped(self) -> bool:
        """True when the agent was stopped because of a budget."""
        return self._handle.reason is StopReason.BUDGET

    def _check(self) -> None:
        overrun = self._purse.reached(self._purse.account(self._transcript.usage))
        if overrun is not None and self._overrun is None and not self._over.is_set():
            self._overrun = overrun
            stop = partial(self._handle.stop, StopReason.BUDGET, overrun.text)
            self._stop = asyncio.get_running_loop().call_later(_ENDS_BY_ITSELF, stop)

    async def _book(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._over.wait()
            await self._note_near()
            if self._over.is_set():
                return
            usage = self._transcript.usage
            known = (usage, self._run_log.session)
            if any(known) and known != self._booked:
                await self._run_log.spent(self._purse.account(usage) if usage else {})
                self._booked = known
            await self._purse.look()
            self._check()

    async def _note_near(self) -> None:
        """Note usage limits that are near; that it fails keeps no attempt from its end."""
        new = {k: near for k, near in self._transcript.near.items() if self._noted.get(k) != near}
        self._noted |= new
        try:
            await self._also(new)
        except Exception:
            logger.warning(
                "What is used of a provider's limit is not noted.",
                exc_info=True,
                extra={"action": "limit_not_noted"},
            )


async def note_agent(told: Mapping[str, Any], run_log: RunLog, log: Log) -> None:
    """Note in the record which agent this start has: the next one's may be another."""
    await run_log.spent(told)
    said = " ".join(str(told[k]) for k in ("agent", "model") if k in told)
    log.info("Agent of this start: %s", said, extra={"action": "agent_chosen"})
