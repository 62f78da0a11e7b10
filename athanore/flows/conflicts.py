"""Others that watch the same queue: another Prefect, or another app.

The lock on a task is a key in one Prefect's database, for one app. Two of them on one queue would
each start an agent for a task. Where the board can tell, that is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from athanore.errors import BoardError
from athanore.routing.routes import Route
from athanore.runs.port import RunStore
from athanore.runtime.apps import App

_PREFECT_ID = "athanore_prefect_id"
"""The variable in Prefect that tells one Prefect from another, whatever address it has."""

_LOOK_EVERY = 60.0


async def rivals(prefect: RunStore, app: App, route: Route) -> Sequence[str]:
    """Tell who else watches a route's queue; once a minute, and nobody in between."""
    looked = app.noted.looked_for_rivals
    if app.noted.monotonic() - looked.get(route.name, float("-inf")) < _LOOK_EVERY:
        return ()
    looked[route.name] = app.noted.monotonic()
    watcher = f"{await _prefect_id(prefect, app)}/{app.name}"
    place = f"the app {app.name!r} on the Prefect at {prefect.address.rstrip('/')}"
    valid_for = timedelta(seconds=_LOOK_EVERY) + 2 * route.poll_interval
    app.noted.watched[route.queue_name] = watcher
    try:
        return await app.board.watched_by(route.queue_name, watcher, place, valid_for)
    except BoardError:
        return ()  # the polls say enough of that


async def watch_no_more(app: App) -> None:
    """Take back what `rivals` has left on the board; others of the app leave it anew."""
    for queue_name, watcher in app.noted.watched.items():
        if app.noted.board_is_away:
            return
        with suppress(BoardError):
            await app.board.watched_by(queue_name, watcher, "", timedelta(0))


async def _prefect_id(prefect: RunStore, app: App) -> str:
    known_ids, address = app.noted.prefect_ids, prefect.address
    while address not in known_ids:
        known = await prefect.value(_PREFECT_ID)
        if known is not None:
            known_ids[address] = str(known.value)
            break
        # Somebody else may be faster: theirs is read then.
        await prefect.keep_first(_PREFECT_ID, str(uuid4()))
    return known_ids[address]
