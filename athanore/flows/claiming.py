"""Claiming the task of a start: from its queue, or from where an earlier start has left it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from athanore.logs import Log
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.services.owners import check_owner


async def claim(
    prefect: RunStore,
    app: App,
    route: Route,
    run_log: RunLog,
    read: Callable[[], Awaitable[Task]],
    log: Log,
    *,
    begun_in: str | None,
) -> Task:
    """Claim the task of a start whose record is open.

    Args:
        read: the task as it is on the board.
        begun_in: where an earlier start may have left the task in progress; None: no earlier start
            of this attempt has had it.

    Raises:
        BoardError: the task is elsewhere, or the board refuses the claim.
    """
    source, task_id = route.queue_name, str(run_log.run.parameters["task_id"])
    if begun_in is None:
        await check_owner(app, await app.routes.read(prefect), route, read)
    else:
        # An earlier claim may have succeeded, or a person asked for another try of a finished run:
        # take the task from where it is.
        here = (await read()).queue_name
        ours = (begun_in, route.in_progress_queue, route.dead_letter_queue, run_log.record.place)
        if here in ours:
            source = here
    claimed = await app.board.claim(task_id, source, route.in_progress_queue)
    log.info(
        "Claimed %r from %r: attempt %s",
        claimed.name,
        source,
        run_log.attempt,
        extra={"action": "task_claimed"},
    )
    return claimed
