"""A task that comes back to its route again and again is given up."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Failed

from athanore.logs import Log
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records import rounds
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App


async def goes_round(
    prefect: RunStore, app: App, route: Route, run_log: RunLog, task_id: str
) -> bool:
    """Tell whether a task has come to its route more often than `max_rounds` says."""
    limit, run = route.max_rounds, run_log.run
    by_hand = store.is_retried_by_hand(run) or run_log.has_claimed()
    if limit is None or run_log.attempt > 1 or by_hand:
        return False  # no further round, or a person's wish
    if store.visit_of(run) == store.FIRST_VISIT:
        return False
    since = app.clock.now() - rounds.WINDOW
    return await rounds.goes_round(prefect, app.name, route.name, task_id, limit, since)


async def stop(route: Route, run_log: RunLog, task_id: str, log: Log) -> State[None]:
    """End the run of such a task, without an agent."""
    await run_log.leave()
    await run_log.rule_out_retries()
    text = (
        f"Agents have been started for this task in {route.queue_name!r} "
        f"{route.max_rounds} times within 24 hours, and it came back each time "
        "(max_rounds)."
    )
    log.error(
        "Task %s goes round in a circle. %s", task_id, text, extra={"action": "task_goes_round"}
    )
    return Failed(name=StateName.GOES_ROUND, message=text)
