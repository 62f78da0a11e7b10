"""Pausing a route, and letting it go on."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient

from athanore.routes import Route
from athanore.runs.capacity import limits, pausing
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import find_route


async def pause(client: PrefectClient, app: App, name: str) -> Route:
    """Stop a route's polls, and start no more agents; running agents are left alone.

    Args:
        name: the route's, or its queue's where no other route watches it.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named.
        DispatchError: the route is not deployed.
    """
    route = find_route(await app.routes.read(client), name).route
    await pausing.pause(client, app.name, route.name)
    return route


async def resume(client: PrefectClient, app: App, name: str) -> Route:
    """Let a paused route go on; see `pause`.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named.
        DispatchError: the route is not deployed.
    """
    route = find_route(await app.routes.read(client), name).route
    if account := await pausing.account_waited_for(client, app.name, route.name):
        await limits.forget(client, account)  # a person knows better
    await pausing.resume(client, app.name, route.name)
    app.local_runs.wake()
    return route
