"""The circuit breaker: a route whose tasks all fail alike pauses itself.

An expired key or a missing program would send a whole queue to the dead letters. After
`pause_after_failures` like failures in a row over as many tasks the route is paused, the task goes
back to its queue, and so do those that still fail; nothing is given up. `athanore resume` (or the
Prefect UI) ends it, and so does the route itself after `resume_after`. If the next task fails in
the same way, the route pauses again at once.

Counted in each worker process by itself.
"""

from __future__ import annotations

import re
from collections import deque

from athanore.models import AgentResult
from athanore.routes import Route

type _Key = tuple[str, str]

_failures: dict[_Key, deque[tuple[str, str]]] = {}
_open: set[_Key] = set()
_paused_for: dict[_Key, str] = {}  # what the last pause was for, until something else happens


def attempt_starts(app: str, route: Route) -> None:
    """Note that Prefect offers the route's runs, so that it is not paused (any more)."""
    _open.discard((app, route.queue_name))


def succeeded(app: str, route: Route) -> None:
    """Note that an agent of the route did its work."""
    key = (app, route.queue_name)
    _failures.pop(key, None)
    _paused_for.pop(key, None)


def failed(app: str, route: Route, task_id: str, result: AgentResult) -> bool:
    """Note a failure; True when the route is to be paused, or is."""
    key = (app, route.queue_name)
    if key in _open:
        return True
    likeness = _likeness(result)
    if _paused_for.get(key) == likeness:
        _open.add(key)
        return True
    _paused_for.pop(key, None)
    row = _failures.setdefault(key, deque())
    if row and row[-1][1] != likeness:
        row.clear()
    if task_id not in (known for known, _ in row):
        row.append((task_id, likeness))
    while len(row) > route.pause_after_failures:  # that may have been changed meanwhile
        row.popleft()
    if len(row) < route.pause_after_failures:
        return False
    row.clear()
    _paused_for[key] = likeness
    _open.add(key)
    return True


def _likeness(result: AgentResult) -> str:
    """What makes two failures alike: the outcome and its words, but not the times in them."""
    words = re.sub(r"\d+(\.\d+)? ?s\b", "", result.reason)
    return f"{result.outcome}: {words}"
