"""The flow of scheduled work: creates the task of one slot of a schedule."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import AwaitingRetry, Completed, Failed

from athanore import names
from athanore.errors import AnswerLostError, BoardUnavailableError, reason
from athanore.logs import Log
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import StateName
from athanore.runtime.registry import registry
from athanore.services import scheduling

_FIRST_WAIT = timedelta(seconds=15)
_LONGEST_WAIT = timedelta(minutes=30)
_TRIES_OF_BOARD = 60
"""A board may be away for more than a day."""

_TRIES_OF_FUNCTION = 4


@flow(name=names.SCHEDULE_FLOW, flow_run_name="{schedule}", persist_result=False)
async def create_task(app: str, schedule: str) -> State[None]:
    """Create the task of this time on the board, if no other run has done so.

    Args:
        app: where the app's code is; see `run_agent`.
        schedule: the name of the schedule.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    log, started = get_run_logger(), context.flow_run
    found = registry.of_run(started.tags, app)
    known = found.dispatcher.schedules.get(schedule)
    if known is None:
        message = f"The app has no schedule {schedule!r}; deploy the app again."
        return Completed(name=StateName.NO_SUCH_ROUTE, message=message)
    async with store.prefect_client() as client:
        run = await client.read_run(started.id)
    slot, key = scheduling.slot_of(known, run, found.clock.now())
    try:
        done = await scheduling.create(_Access(), found, known, run.id, slot, key)
    except (BoardUnavailableError, AnswerLostError) as exc:
        return _again(log, exc, run.run_count, _TRIES_OF_BOARD, found.clock.now())
    except Exception as exc:
        return _again(log, exc, run.run_count, _TRIES_OF_FUNCTION, found.clock.now())
    if done.in_doubt:
        log.error("%s", done.says, extra={"action": "scheduled_work_failed"})
    else:
        log.info("%s", done.says, extra={"action": "scheduled_work"})
    return Completed(message=done.says)


class _Access:
    """The worker's way to Prefect, as use cases take it."""

    def client(self) -> AbstractAsyncContextManager[PrefectRunStore]:
        return store.prefect_client()


def _again(log: Log, error: Exception, tries: int, most: int, now: datetime) -> State[None]:
    """Have the run start once more, later and later; after so many tries it has failed."""
    said = f"The task was not created: {reason(error)}"
    if tries >= most:
        log.error("%s", said, extra={"action": "scheduled_work_failed"})
        return Failed(message=said)
    wait = min(_FIRST_WAIT * 2 ** min(tries - 1, 10), _LONGEST_WAIT)
    log.warning(
        "%s Try %s follows in %g s.",
        said if said.endswith(".") else f"{said}.",
        tries + 1,
        wait.total_seconds(),
        extra={"action": "scheduled_work_retried"},
    )
    return AwaitingRetry(scheduled_time=now + wait, message=said)
