"""What agents have used, what they may use, and when a day is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

REPORTED, ESTIMATED = "reported", "estimated"
"""Who says what an attempt has cost (`cost_source` of its usage): the agent, or a price table."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What agents have used.

    Attributes:
        cost_usd: in US dollars; None if nobody knows.
        tokens: what the models read and wrote together; None if nobody knows.
        is_estimate: some of the cost was made from tokens and a price table.
    """

    cost_usd: float | None = None
    tokens: int | None = None
    is_estimate: bool = False

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> Spent:
        """Read the usage of an attempt, as adapters tell it."""
        cost = _number(usage.get("cost_usd"))
        counts = [_number(usage.get(kind)) for kind in ("input_tokens", "output_tokens")]
        known = [int(count) for count in counts if count is not None]
        estimated = cost is not None and usage.get("cost_source") == ESTIMATED
        return cls(cost, sum(known) if known else None, estimated)

    @classmethod
    def total(cls, parts: Iterable[Spent]) -> Spent:
        """The sum of what is known."""
        found = list(parts)
        costs = [p.cost_usd for p in found if p.cost_usd is not None]
        tokens = [p.tokens for p in found if p.tokens is not None]
        return cls(
            sum(costs) if costs else None,
            sum(tokens) if tokens else None,
            any(p.is_estimate for p in found),
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """What agents may use; None: as much as they like."""

    cost_usd: float | None = None
    tokens: int | None = None

    def __bool__(self) -> bool:
        return self.cost_usd is not None or self.tokens is not None

    def reached(self, spent: Spent) -> str:
        """Say how much of what is used up, as `$5.02 of $5.00`; "" while something is left."""
        if self.cost_usd is not None and (spent.cost_usd or 0.0) >= self.cost_usd:
            about = "about " if spent.is_estimate else ""
            return f"{about}{dollars(spent.cost_usd or 0.0)} of {dollars(self.cost_usd)}"
        if self.tokens is not None and (spent.tokens or 0) >= self.tokens:
            return f"{spent.tokens or 0:,} of {self.tokens:,} tokens"
        return ""

    def left(self, spent: Spent) -> Budget:
        """What may still be used; 0 where nothing is left."""
        cost, tokens = self.cost_usd, self.tokens
        return Budget(
            None if cost is None else max(0.0, cost - (spent.cost_usd or 0.0)),
            None if tokens is None else max(0, tokens - (spent.tokens or 0)),
        )

    def within(self, other: Budget) -> Budget:
        """The narrower of both, in each of its parts."""
        return Budget(_least(self.cost_usd, other.cost_usd), _least(self.tokens, other.tokens))


def dollars(amount: float) -> str:
    """An amount of money, for people; small ones to a hundredth of a cent."""
    return f"${amount:,.2f}" if amount == 0 or amount >= 1 else f"${amount:.4f}"


def midnights(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When the day of a moment began in a time zone, and when it ends."""
    day = now.astimezone(zone).date()
    return (
        datetime.combine(day, time(), zone),
        datetime.combine(day + timedelta(days=1), time(), zone),
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return value


def _least[N: (int, float)](one: N | None, two: N | None) -> N | None:
    known = [n for n in (one, two) if n is not None]
    return min(known) if known else None
