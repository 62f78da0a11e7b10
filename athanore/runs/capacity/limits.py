"""The limits of providers that are known, in Prefect: one variable for each account.

An account that has reached its usage limit starts no agent until the limit is reset, on whatever
host, and after restarts. Then one task goes first; the others follow when it has reached the
provider. Until something has, the variable stays: it counts how often the limit came back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter

from athanore.models import Fault
from athanore.runs.connection.clock import Clock
from athanore.runs.port import RunStore

LONGEST = timedelta(days=8)
"""A reset that is further away is not believed; the longest window of a provider is a week."""

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=15), timedelta(hours=2)
"""Where no reset is known: the wait, doubled each time, and its bound."""

_MARGIN = timedelta(seconds=5)  # the provider's clock need not be Prefect's
_TAG = "athanore-limit"
_PROBE_TAKES = timedelta(minutes=1)
_LOOK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Limit:
    """A usage limit that an account has reached.

    Attributes:
        account: whose; see `SupportsAccount`.
        kind: which, in words: `5-hour`.
        until: when agents are started again.
        again: how often it came back without a reset being known.
        probe: the id of the run that goes first after that; "" before.
        probed_at: when it was let through.
    """

    account: str
    kind: str
    until: datetime
    again: int = 0
    probe: str = ""
    probed_at: datetime | None = None

    def in_words(self, now: datetime) -> str:
        """What people read of it, as a clause."""
        kind = f" ({self.kind})" if self.kind else ""
        day = "" if self.until.date() == now.date() else f"{self.until:%Y-%m-%d} "
        return f"Provider limit{kind}; goes on at {day}{self.until:%H:%M} UTC"


_LIMIT = TypeAdapter(Limit)


def believed(reset: datetime | None, now: datetime) -> datetime | None:
    """When to go on after a reset that a provider tells; None if it cannot be right."""
    if reset is None or not now <= reset <= now + LONGEST:
        return None
    return reset + _MARGIN


async def reached(prefect: RunStore, account: str, fault: Fault, now: datetime) -> Limit:
    """Note that an account has reached a limit, and say until when.

    Args:
        account: whose, if the fault does not name it.
    """
    account = fault.account or account
    before = await read(prefect, account)
    until = believed(fault.retry_at, now)
    if before is not None and before.until > now:  # another agent was at work at the same time
        if until is None or until <= before.until:
            return before
        limit = replace(before, until=until, kind=fault.text)
    elif until is not None:
        limit = Limit(account, fault.text, until)
    else:
        again = 0 if before is None else before.again + 1
        wait = min(FIRST_WAIT * 2 ** min(again, 10), LONGEST_WAIT)
        limit = Limit(account, fault.text, now + wait, again)
    await _write(prefect, limit)
    return limit


class Limits:
    """The gate of one app in this process: its runs pass one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gate = asyncio.Lock()
        self._first: set[str] = set()

    async def held(
        self, prefect: RunStore, account: str, run_id: str
    ) -> tuple[Limit, timedelta] | None:
        """Say which limit keeps a run from starting an agent, and when to ask again; else None.

        After the reset the first run that asks may start: it goes first.
        """
        if await read(prefect, account) is None:
            return None  # nearly always, and then no run waits for another's look
        async with self._gate:
            limit, now = await read(prefect, account), self._clock.now()
            if limit is None:
                return None
            if now < limit.until:
                return limit, limit.until - now
            if limit.probe in ("", run_id):
                await _write(prefect, replace(limit, probe=run_id, probed_at=now))
                self._first.add(run_id)
                return None
            if limit.probed_at is not None and now - limit.probed_at < _PROBE_TAKES:
                return limit, _LOOK
            await forget(prefect, account)  # an agent that has reached its limit ends at once
            return None

    def goes_first(self, run_id: str) -> bool:
        """Tell, once, whether a run was let through to try the provider."""
        first = run_id in self._first
        self._first.discard(run_id)
        return first


async def passed(prefect: RunStore, account: str, run_id: str) -> None:
    """Note that the agent of a run has reached its provider; it counts for the run that went first.

    A limit that came back meanwhile stays.
    """
    limit = await read(prefect, account)
    if limit is not None and limit.probe == run_id:
        await forget(prefect, account)


async def read(prefect: RunStore, account: str) -> Limit | None:
    """The limit of an account; None if there is none that is known."""
    kept = await prefect.value(_name(account))
    return None if kept is None else _parse(kept.value)


async def forget(prefect: RunStore, account: str) -> None:
    """Let agents of an account start at once."""
    await prefect.forget(_name(account))


async def _write(prefect: RunStore, limit: Limit) -> None:
    await prefect.keep(_name(limit.account), _LIMIT.dump_python(limit, mode="json"), [_TAG])


def _parse(value: Any) -> Limit | None:
    try:
        return _LIMIT.validate_python(value)
    except ValueError:
        return None  # of another version, or somebody's own: the next agent finds out


def _name(account: str) -> str:
    # Prefect takes short names of few characters only, and the account may be a secret's digest.
    return f"{_TAG}-{sha256(account.encode()).hexdigest()[:32]}"
