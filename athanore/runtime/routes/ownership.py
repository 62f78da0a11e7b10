"""Whose a task is, and which routes are meant by a name. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from athanore.errors import AmbiguousRouteError, MatchError, RouteNotFoundError
from athanore.models import Task
from athanore.routing.routes import Route, ranked
from athanore.runtime.routes.route_registry import KnownRoute, Routes


def watching(routes: Routes, queue_name: str) -> list[KnownRoute]:
    """The routes that watch a queue, the first by rank first."""
    found = ranked(k.route for k in routes.values() if k.route.queue_name == queue_name)
    return [routes[route.name] for route in found]


def watched(routes: Routes) -> list[str]:
    """The queues that are watched, each once."""
    return list(dict.fromkeys(k.route.queue_name for k in routes.values()))


def owner(routes: Routes, task: Task) -> Route | None:
    """The route whose agent works on a task: the first by rank that watches its queue and takes it.

    Args:
        task: with what the routes of its queue need; see `needs`. The user of Athanore itself is
            not among its assignees.

    Raises:
        MatchError: a route's `match` fails on the task, which nobody is to work on then.
    """
    return next((k.route for k in watching(routes, task.queue_name) if takes(k.route, task)), None)


def takes(route: Route, task: Task) -> bool:
    """Tell whether a task in the queue of a route is one that the route takes.

    Raises:
        MatchError: its `match` fails on the task.
    """
    if not set(route.labels) <= set(task.labels) or set(route.without_labels) & set(task.labels):
        return False
    if route.assignees and not set(route.assignees) & set(task.assignees):
        return False
    if route.match is None:
        return True
    try:
        return bool(route.match(task))
    except Exception as exc:
        raise MatchError(route.name, task.id, exc) from exc


def needs(routes: Routes, queue_name: str) -> bool:
    """Tell whether the owner of a task can only be told from one that is read by itself."""
    return any(k.route.needs for k in watching(routes, queue_name))


def find_route(routes: Routes, name: str) -> KnownRoute:
    """The route of a name, or the one that watches a queue of that name.

    Raises:
        RouteNotFoundError: there is none; the message names those that there are.
        AmbiguousRouteError: several routes watch the queue; `names` says which.
    """
    if name in routes:
        return routes[name]
    found = watching(routes, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousRouteError(name, [k.route.name for k in found])
    raise RouteNotFoundError(name, dict.fromkeys([*routes, *watched(routes)]))


def listed(names: Iterable[str]) -> str:
    """Name routes or queues in a message."""
    return ", ".join(repr(n) for n in names) or "none"
