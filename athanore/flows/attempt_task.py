"""One attempt of an agent as a Prefect task, so that Prefect shows its state and duration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from athanore.models import AgentOutcome, AgentResult


@task(name="attempt", persist_result=False, cache_policy=NO_CACHE, retries=0)
async def attempt_task(
    work: Callable[[], Awaitable[AgentResult]], keep: Callable[[AgentResult], None]
) -> State[None]:
    """Work, keep what came of it, and end as that says."""
    started = monotonic()
    result = await work()
    keep(result)
    took = f"{monotonic() - started:.1f} s"
    match result.outcome:
        case AgentOutcome.SUCCEEDED:
            return Completed(message=f"finished after {took}")
        case AgentOutcome.TIMED_OUT:
            return Failed(name="TimedOut", message=f"{result.reason} after {took}")
        case _:
            return Failed(message=f"{result.reason} after {took}")
