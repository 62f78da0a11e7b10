"""What routes may not be: in each other's way."""

from __future__ import annotations

from collections.abc import Iterable

from athanore.errors import RouteError
from athanore.routes import Route, ranked


def check_beside(route: Route, others: Iterable[Route]) -> None:
    """Refuse a route that takes tasks which another one is at work on, or the other way round.

    Raises:
        RouteError: a queue that one watches is where the other puts what it works on; both have a
            name in common; or one of them takes all tasks of their queue, or the same ones, so that
            nothing is left for the other.
    """
    others = list(others)
    for other in others:
        if common := set(route.names) & set(other.names):
            raise RouteError(
                f"Route {route.name!r}: another route is called {common.pop()!r} already, or was; "
                "give one of them another name=."
            )
        for one, two in ((route, other), (other, route)):
            if one.in_progress_queue == two.queue_name:
                raise RouteError(
                    f"Route {one.name!r}: in_progress_queue={one.in_progress_queue!r} "
                    "is a queue that another route watches; its tasks would be claimed twice."
                )


def check_filters(routes: Iterable[Route]) -> None:
    """Refuse routes of one queue of which one would never be given a task.

    Raises:
        RouteError: two take the same tasks, or one that others come after takes all of them.
    """
    by_queue: dict[str, list[Route]] = {}
    for route in ranked(routes):
        by_queue.setdefault(route.queue_name, []).append(route)
    for queue_name, beside in by_queue.items():
        for place, route in enumerate(beside):
            for after in beside[place + 1 :]:
                if route.filter is None:
                    raise RouteError(
                        f"Route {route.name!r} takes every task in {queue_name!r}, so none is left "
                        f"for route {after.name!r}. Give the first labels=, without_labels=, "
                        "assignees= or match=, or have it come last, by priority= or by its place."
                    )
                if route.filter == after.filter:
                    raise RouteError(
                        f"Routes {route.name!r} and {after.name!r} take the same tasks in "
                        f"{queue_name!r}; give them different labels=, without_labels=, assignees= "
                        "or match=."
                    )
