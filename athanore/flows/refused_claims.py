"""A task whose claim the board has refused twice is held until it changes, or for a while.

The board is there and has nothing against us: it does not take this one task, say because a
transition wants a field that is empty. To ask with each poll would cost requests, and tell nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from athanore import names
from athanore.errors import (
    AnswerLostError,
    AthanoreError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
)
from athanore.flows.refusals import failed_function
from athanore.logs import Log
from athanore.models import Task
from athanore.runs.records.refused_claim import HELD, RefusedClaim, digest
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.texts import cut

_HELD_AFTER = 2
_HELD_FOR = timedelta(minutes=15)
_LONGEST = 500  # characters


async def why_not_claimed(
    app: App, run_log: RunLog, read: Callable[[], Awaitable[Task]], error: AthanoreError, log: Log
) -> tuple[str, str]:
    """Say why a task waits that could not be claimed, and what a person has to mend.

    Args:
        read: the task as it was before the claim.

    Returns:
        The reason, and what the record of the run says of it: `HELD`, the option whose function
        failed, or "".
    """
    if isinstance(error, BoardError):
        refused = await _noted(app, run_log, read, error)
        if refused is not None and refused.count >= _HELD_AFTER:
            text = _text(run_log, refused)
            log.error("%s", text, extra={"action": "claim_held"})
            return text, HELD
    return str(error), failed_function(error)


async def _noted(
    app: App, run_log: RunLog, read: Callable[[], Awaitable[Task]], error: BoardError
) -> RefusedClaim | None:
    if isinstance(error, BoardAccessError | BoardUnavailableError | AnswerLostError):
        return None
    try:
        seen = digest(await read(), app.version)
    except BoardError:
        return None  # there is more amiss than this task
    before = RefusedClaim.parse(run_log.record.refused_claim)
    count = before.count + 1 if before is not None and before.seen == seen else 1
    until = app.clock.now() + _HELD_FOR
    refused = RefusedClaim(seen, count, cut(str(error), _LONGEST), until)
    await run_log.claim_refused(refused.dump())
    return refused


async def claim_is_held(
    app: App, run_log: RunLog, read: Callable[[], Awaitable[Task]]
) -> str | None:
    """Say why a task is not claimed now; None if it may be.

    Args:
        read: the task.

    Raises:
        BoardError: the task could not be read.
    """
    refused = RefusedClaim.parse(run_log.record.refused_claim)
    if refused is None or refused.count < _HELD_AFTER or app.clock.now() >= refused.until:
        return None
    seen = digest(await read(), app.version)
    return _text(run_log, refused) if seen == refused.seen else None


def _text(run_log: RunLog, refused: RefusedClaim) -> str:
    return (
        f"Task {names.task_of(run_log.run.tags)!r} is held: the board has refused "
        f"{refused.count} times that it is claimed as it is ({refused.text}). It is tried again "
        f"when it changes, or at {refused.until:%H:%M} UTC."
    )
