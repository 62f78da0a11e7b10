"""What is shown of what agents have cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

type By = Literal["task", "route", "agent", "model", "day"]


@dataclass(frozen=True, slots=True)
class Costs:
    """What some attempts have cost.

    Attributes:
        key: whose: a task, a route, an agent, a model or a day.
        tasks, attempts: how many there were.
        cost_usd: what is known of it; None if nothing is.
        estimated_usd: how much of that was estimated from tokens.
        unmeasured: of how many attempts nobody knows the cost.
        input_tokens, output_tokens: None if nobody knows.
        seconds: how long agents worked, in the whole runs that these attempts belong to.
    """

    key: str
    tasks: int
    attempts: int
    cost_usd: float | None
    estimated_usd: float
    unmeasured: int
    input_tokens: int | None
    output_tokens: int | None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What the agents of an app have cost since a midnight.

    Attributes:
        is_partial: there were too many runs to count them all; the newest are counted.
        done: how many tasks an agent has finished with, and which nobody has given up since.
        given_up: how many tasks were given up, and no agent has finished with since.
    """

    by: By
    since: datetime
    rows: tuple[Costs, ...]
    total: Costs
    is_partial: bool
    done: int = 0
    given_up: int = 0
