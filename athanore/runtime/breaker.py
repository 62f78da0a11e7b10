"""The circuit breaker: a route whose tasks all fail alike pauses itself.

An expired key or a missing program would send a whole queue to the dead letters. After
`pause_after_failures` like failures in a row over as many tasks the route is paused, the task goes
back to its queue, and so do those that still fail; nothing is given up. `athanore resume` (or the
Prefect UI) ends it, and so does the route itself after `resume_after`. If the next task fails in
the same way, the route pauses again at once.

Counted in each process by itself.
"""

from __future__ import annotations

import re
from collections import deque

from athanore.models import AgentResult
from athanore.routing.routes import Route


class Breaker:
    """Counts the failures of an app's routes, by their names, in this process."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[tuple[str, str]]] = {}
        self._open: set[str] = set()
        # What the last pause was for, until something else happens.
        self._paused_for: dict[str, str] = {}

    def attempt_starts(self, route: Route) -> None:
        """Note that Prefect offers the route's runs, so that it is not paused (any more)."""
        self._open.discard(route.name)

    def succeeded(self, route: Route) -> None:
        """Note that an agent of the route did its work."""
        self._failures.pop(route.name, None)
        self._paused_for.pop(route.name, None)

    def failed(self, route: Route, task_id: str, result: AgentResult) -> bool:
        """Note a failure; True when the route is to be paused, or is."""
        key = route.name
        if key in self._open:
            return True
        likeness = _likeness(result)
        if self._paused_for.get(key) == likeness:
            self._open.add(key)
            return True
        self._paused_for.pop(key, None)
        row = self._failures.setdefault(key, deque())
        if row and row[-1][1] != likeness:
            row.clear()
        if task_id not in (known for known, _ in row):
            row.append((task_id, likeness))
        while len(row) > route.pause_after_failures:  # that may have been changed meanwhile
            row.popleft()
        if len(row) < route.pause_after_failures:
            return False
        row.clear()
        self._paused_for[key] = likeness
        self._open.add(key)
        return True


def _likeness(result: AgentResult) -> str:
    """What makes two failures alike: the outcome and its words, but not the times in them."""
    words = re.sub(r"(?<!\d)\d+(\.\d+)? ?s\b", "", result.reason)
    return f"{result.outcome}: {words}"
