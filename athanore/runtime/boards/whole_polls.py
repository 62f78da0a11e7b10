"""Which routes have been looked at as a whole here, and found without work on a board as it was.

A scheduled poll of such a route would find the same again, so the worker only notes that it was due
(`athanore.worker.poll_runs.unchanged`). Whatever speaks against that makes the next poll a whole
one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic

from athanore.routing.routes import Route
from athanore.runtime.routes.ownership import watching
from athanore.runtime.routes.route_registry import Routes

LONGEST = 300.0
"""Seconds after which a poll is whole in any case."""


@dataclass(frozen=True, slots=True)
class _Whole:
    stamp: Hashable
    routes: tuple[Route, ...]
    at: float


class WholePolls:
    """What the last whole poll of each route in this process leaves to say.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._found_nothing: dict[str, _Whole] = {}

    def began(self, route: str) -> None:
        """A whole poll of a route has begun; until it has ended well, nothing is known."""
        self._found_nothing.pop(route, None)

    def found_nothing(self, route: str, stamp: Hashable | None, routes: Routes) -> None:
        """A whole poll has ended, was refused nothing, and found no task of the route.

        Args:
            stamp: the board's change stamp from before it was read; None if it has none.
            routes: all routes as they were: they decide together whose a task is.
        """
        if stamp is not None and not _asks_more_than_the_board(route, routes):
            self._found_nothing[route] = _Whole(stamp, _all(routes), self._now())

    def is_known(self, route: str) -> bool:
        """Tell whether a poll of a route may be an unchanged one, before anybody is asked."""
        known = self._found_nothing.get(route)
        return known is not None and self._now() - known.at < LONGEST

    def is_unchanged(self, route: str, stamp: Hashable | None, routes: Routes) -> bool:
        """Tell whether a whole poll of a route would find nothing again.

        Args:
            stamp: the board's change stamp now; None if it does not tell.
            routes: all routes as they are now.
        """
        known = self._found_nothing.get(route)
        return (
            known is not None
            and self.is_known(route)
            and stamp == known.stamp
            and known.routes == _all(routes)
        )


def _all(routes: Routes) -> tuple[Route, ...]:
    return tuple(known.route for known in routes.values())


def _asks_more_than_the_board(name: str, routes: Routes) -> bool:
    """Whether functions of the user's say whose the tasks of a route's queue are."""
    known = routes.get(name)
    if known is None:
        return True
    return any(k.route.match is not None for k in watching(routes, known.route.queue_name))
