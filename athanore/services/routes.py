"""Pausing a route, and letting it go on."""

from __future__ import annotations

from athanore.routing.routes import Route
from athanore.runs.capacity import limits, pausing
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import find_route


async def pause(prefect: RunStore, app: App, name: str) -> Route:
    """Stop a route's polls, and start no more agents; running agents are left alone.

    Args:
        name: the route's, or its queue's where no other route watches it.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named.
        DispatchError: the route is not deployed.
    """
    route = find_route(await app.routes.read(prefect), name).route
    await pausing.pause(prefect, app.name, route.name, was=route.was, host=route.host)
    return route


async def resume(prefect: RunStore, app: App, name: str) -> Route:
    """Let a paused route go on; see `pause`.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named.
        DispatchError: the route is not deployed.
    """
    route = find_route(await app.routes.read(prefect), name).route
    if account := await pausing.account_waited_for(prefect, app.name, route.name):
        await limits.forget(prefect, account)  # a person knows better
    await pausing.resume(prefect, app.name, route.name, was=route.was, host=route.host)
    app.local_runs.wake()
    return route
