"""The limits of providers that are known, in Prefect: one variable for each account.

An account that has reached its usage limit starts no agent until the limit is reset, on whatever
host, and after restarts. Then one task goes first; the others follow when it has reached the
provider. Until something has, the variable stays: it counts how often the limit came back.

Which run goes first is a variable of its own, which only one of all hosts can make. A run that went
first and ended, or was given back, without reaching the provider has a follower: the next variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

from cachetools import TTLCache
from prefect.exceptions import ObjectNotFound
from pydantic import TypeAdapter

from athanore.models import Fault
from athanore.runs import store
from athanore.runs.connection.clock import Clock
from athanore.runs.port import RunStore

LONGEST = timedelta(days=8)
"""A reset that is further away is not believed; the longest window of a provider is a week."""

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=15), timedelta(hours=2)
"""Where no reset is known: the wait, doubled each time, and its bound."""

_MARGIN = timedelta(seconds=5)  # the provider's clock need not be Prefect's
_TAG = "athanore-limit"
_FIRST_TAG = "athanore-first"
_PROBE_TAKES = timedelta(minutes=1)
_LOOK = timedelta(seconds=5)
_FORGOTTEN = timedelta(hours=5)
_KNOWN_FREE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Witness:
    """Whose agent has told something of an account: its app, its route, its host."""

    app: str = ""
    route: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A usage limit that an account has reached.

    Attributes:
        account: whose; see `SupportsAccount`.
        kind: which, in words: `5-hour`.
        until: when agents are started again.
        again: how often it came back without a reset being known.
        seen_by: whose agent has told it.
    """

    account: str
    kind: str
    until: datetime
    again: int = 0
    seen_by: Witness = field(default_factory=Witness)

    def in_words(self, now: datetime) -> str:
        """What people read of it, as a clause."""
        return f"{self._named()}; goes on at {self._at(now)}"

    def taken_over(self, now: datetime) -> str:
        """What people read of it where another agent takes over, as a clause."""
        return f"{self._named()} until {self._at(now)}; the fallback agent takes over"

    def _named(self) -> str:
        return f"Provider limit ({self.kind})" if self.kind else "Provider limit"

    def _at(self, now: datetime) -> str:
        day = "" if self.until.date() == now.date() else f"{self.until:%Y-%m-%d} "
        return f"{day}{self.until:%H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Near:
    """That an account has used much of a limit.

    Attributes:
        account: whose.
        near: which limit, in words.
        used: how much of it, from 0 to 1; None if that was not said.
        resets_at: when it is reset; None if that was not said.
        at: when an agent has told so.
        seen_by: whose agent that was.
    """

    account: str
    near: str
    used: float | None
    resets_at: datetime | None
    at: datetime
    seen_by: Witness = field(default_factory=Witness)

    def holds(self, now: datetime) -> bool:
        """Tell whether the limit has not been reset since."""
        return now < (self.at + _FORGOTTEN if self.resets_at is None else self.resets_at)


class Held(NamedTuple):
    """What keeps a run from starting an agent.

    Attributes:
        limit: the limit.
        ask_again: after how long it may start, perhaps.
        another_first: the limit is reset, and another run goes first.
    """

    limit: Limit
    ask_again: timedelta
    another_first: bool = False


class _First(NamedTuple):
    """A run that was let through after a reset, and when."""

    run_id: str
    at: datetime


_LIMIT = TypeAdapter(Limit)
_NEAR = TypeAdapter(Near)
_FIRST = TypeAdapter(_First)


def believed(reset: datetime | None, now: datetime) -> datetime | None:
    """When to go on after a reset that a provider tells; None if it cannot be right."""
    if reset is None or not now <= reset <= now + LONGEST:
        return None
    return reset + _MARGIN


async def reached(
    prefect: RunStore, account: str, fault: Fault, now: datetime, seen_by: Witness | None = None
) -> Limit:
    """Note that an account has reached a limit, and say until when.

    Args:
        account: whose, if the fault does not name it.
        seen_by: whose agent has told it.
    """
    seen_by = seen_by or Witness()
    account = fault.account or account
    before = await read(prefect, account)
    until = believed(fault.retry_at, now)
    if before is not None and before.until > now:  # another agent was at work at the same time
        if until is None or until <= before.until:
            return before
        limit = replace(before, until=until, kind=fault.text)
    elif until is not None:
        limit = Limit(account, fault.text, until, seen_by=seen_by)
    else:
        again = 0 if before is None else before.again + 1
        wait = min(FIRST_WAIT * 2 ** min(again, 10), LONGEST_WAIT)
        limit = Limit(account, fault.text, now + wait, again, seen_by)
    await _write(prefect, limit)
    if before is not None:
        await _forget_first(prefect, before)
    return limit


async def is_near(prefect: RunStore, near: Near) -> None:
    """Note how much of a limit an account has used, instead of what was known before."""
    value = _NEAR.dump_python(near, mode="json")
    await prefect.keep(_name(f"{near.account}\0{near.near}"), value, [_TAG])


async def known(prefect: RunStore, now: datetime) -> tuple[list[Limit], list[Near]]:
    """All limits that accounts have reached, and those that are near and were not reset since.

    A limit that is reset is among them until an agent has reached the provider.
    """
    found, near = list[Limit](), list[Near]()
    for kept in await prefect.values([_TAG]):
        if (limit := _parse(kept.value)) is not None:
            found.append(limit)
        else:
            with suppress(ValueError):  # somebody else's
                near.append(_NEAR.validate_python(kept.value))
    return found, [n for n in near if n.holds(now)]


class Limits:
    """The gate of one app in this process: its runs pass one after the other.

    That an account has no limit is asked every two seconds at most, however many runs start: what
    others have noted since, an agent finds out by itself.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gate = asyncio.Lock()
        self._first: set[str] = set()
        self._free: TTLCache[str, bool] = TTLCache(1000, _KNOWN_FREE.total_seconds())

    def heard(self) -> None:
        """Ask anew: an agent of this process has just reached a limit."""
        self._free.clear()

    async def held(self, prefect: RunStore, account: str, run_id: str) -> Held | None:
        """Say which limit keeps a run from starting an agent; None if none does.

        After the reset the first run that asks may start: it goes first.
        """
        if account in self._free:
            return None
        if await read(prefect, account) is None:
            self._free[account] = True
            return None  # nearly always, and then no run waits for another's look
        async with self._gate:
            limit, now = await read(prefect, account), self._clock.now()
            if limit is None:
                return None
            if now < limit.until:
                return Held(limit, limit.until - now)
            first = await _first_of(prefect, limit, _First(run_id, now))
            if first is None or (first.run_id != run_id and now - first.at < _PROBE_TAKES):
                return Held(limit, _LOOK, another_first=True)
            if first.run_id == run_id:
                self._first.add(run_id)
                return None
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
    if limit is not None and run_id in [f.run_id async for f in _chain(prefect, limit)]:
        await forget(prefect, account)


async def read(prefect: RunStore, account: str) -> Limit | None:
    """The limit of an account; None if there is none that is known."""
    kept = await prefect.value(_name(account))
    return None if kept is None else _parse(kept.value)


async def forget(prefect: RunStore, account: str) -> None:
    """Let agents of an account start at once."""
    if (limit := await read(prefect, account)) is not None:
        await _forget_first(prefect, limit)
    await prefect.forget(_name(account))


async def _first_of(prefect: RunStore, limit: Limit, asking: _First) -> _First | None:
    """The run that goes first after a reset, which may be the one that asks; None: just changed."""
    for number in count():
        name = _first_name(limit, number)
        if await prefect.keep_first(name, _FIRST.dump_python(asking, mode="json"), [_FIRST_TAG]):
            return asking
        first = await _read_first(prefect, name)
        if first is None or first.run_id == asking.run_id:
            return first
        if await _is_at_work(prefect, first.run_id):
            return first
    raise AssertionError("there is always a next number")


async def _chain(prefect: RunStore, limit: Limit) -> AsyncIterator[_First]:
    """The runs that were let through after a reset, each after the one before had ended."""
    for number in count():
        first = await _read_first(prefect, _first_name(limit, number))
        if first is None:
            return
        yield first


async def _forget_first(prefect: RunStore, limit: Limit) -> None:
    for number in range(len([f async for f in _chain(prefect, limit)])):
        await prefect.forget(_first_name(limit, number))


async def _read_first(prefect: RunStore, name: str) -> _First | None:
    kept = await prefect.value(name)
    return None if kept is None else _FIRST.validate_python(kept.value)


async def _is_at_work(prefect: RunStore, run_id: str) -> bool:
    try:
        run = await prefect.read_run(UUID(run_id))
    except ObjectNotFound:
        return False
    return run.state_type in store.WORKING


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


def _first_name(limit: Limit, number: int) -> str:
    which = f"{limit.account}\0{limit.until.isoformat()}\0{number}"
    return f"{_FIRST_TAG}-{sha256(which.encode()).hexdigest()[:32]}"
