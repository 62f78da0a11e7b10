"""What the board refuses for good: after a while the route pauses itself, and says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from athanore.errors import (
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    DispatchError,
)
from athanore.flows import retry
from athanore.flows.attempts.transcript import Log
from athanore.routes import Route
from athanore.runs.capacity import pausing
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.noted import Refused

_ASKED_AGAIN = timedelta(minutes=15)
"""When a route that paused itself because the board refused something asks again, by default."""


async def pause_for_board(
    prefect: RunStore, app: App, route: Route, refusal: BoardAccessError, log: Log
) -> None:
    """No agent starts whose work the board would not be told of; it is asked again later."""
    resume_at = app.clock.now() + (route.resume_after or _ASKED_AGAIN)
    text = f"Route {route.name!r} is paused: {refusal.in_short}. {refusal}"
    try:
        await pausing.pause(prefect, app.name, route.name, reason=text, resume_at=resume_at)
    except DispatchError as exc:
        log.error("The route cannot be paused: %s", exc, extra={"action": "route_not_paused"})
    else:
        log.error(
            "%s It tries again at %s UTC; once that is mended: athanore resume %r",
            text,
            f"{resume_at:%H:%M}",
            route.name,
            extra={"action": "route_paused"},
        )


async def claim_refused(
    app: App, route: Route, error: BoardError, look: Callable[[], Awaitable[object]], log: Log
) -> BoardAccessError | None:
    """Note that the board refused a claim; return the refusal once it is there to stay.

    A board that can be read, and refuses for `Margins.board_access`, is not away.

    Args:
        look: a read of the board.
    """
    if not isinstance(error, (BoardAccessError, BoardUnavailableError)):
        return None
    if isinstance(error, BoardUnavailableError) and not await retry.answers(look):
        app.noted.refused.pop(route.name, None)  # it is away, which the poll says
        return None
    now, patience = app.noted.monotonic(), app.margins.board_access.total_seconds()
    before = app.noted.refused.get(route.name)
    if before is None or now - before.last > max(patience, 2 * route.poll_interval.total_seconds()):
        app.noted.refused[route.name] = Refused(now, now)
        log.error(
            "No agent can start: %s It is tried again.", error, extra={"action": "claim_refused"}
        )
        return None
    app.noted.refused[route.name] = Refused(before.since, now)
    if now - before.since <= patience:
        return None
    app.noted.refused.pop(route.name)
    return error if isinstance(error, BoardAccessError) else retry.refuses_this(error)
