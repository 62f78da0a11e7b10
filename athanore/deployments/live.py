"""Routes that are made, changed and removed while everything runs; what the task API does.

Waiting and running agents are left alone: a run asks for its route when it starts, and once more
when its agent has ended.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Literal

from prefect.client.schemas.responses import DeploymentResponse

from athanore import names
from athanore.deployments import removal
from athanore.deployments.deploy import deploy_route, poll_now
from athanore.deployments.plan import plan
from athanore.errors import DispatchError, RouteError
from athanore.routing.route_rules import check_beside, check_filters
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.definitions import RouteDefinition, RouteOptions, define_anew, sign
from athanore.runtime.routes.prompt_template import PromptTemplate
from athanore.runtime.routes.route_registry import KnownRoute, deployments_of


def make_route(
    app: App,
    name: str,
    queue_name: str,
    options: RouteOptions,
    source: Literal["code", "api"] = "api",
) -> KnownRoute:
    """Work out the route that was asked for over HTTP, and see that it can work.

    Raises:
        RouteError: an option is wrong, or the route has nothing to start.
    """
    definition = RouteDefinition(source=source, options=options)
    definition.signature = sign(app.dispatcher, name, queue_name, definition)
    route = define_anew(app.dispatcher, name, queue_name, definition)
    if route is None:
        raise RouteError(f"The code has no route {name!r} any more.")
    try:
        words = shlex.split(route.command)
    except ValueError as exc:
        raise RouteError(
            f"Route {name!r}: command={route.command!r} cannot be split into words: {exc}."
        ) from exc
    if not words and (route.agent or app.dispatcher.default_agent) is None:
        raise RouteError(
            f"Route {name!r} has nothing to start: send command (the app has none, and no "
            "default_agent)."
        )
    return KnownRoute(route, source, definition)


async def put_route(client: PrefectRunStore, app: App, known: KnownRoute) -> None:
    """Have Prefect hold a route as it was made or changed over HTTP; it is in effect at once.

    Raises:
        RouteError: its prompt cannot be written, or it is in another route's way.
    """
    if isinstance(known.route.prompt, PromptTemplate):
        await known.route.prompt.check()
    routes = dict(await app.routes.read(client, fresh=True))
    name = known.route.name
    is_new = name not in routes
    others = [k.route for n, k in routes.items() if n != name]
    check_beside(known.route, others)
    check_filters([*others, known.route])
    wanted = plan(app.dispatcher, app.reference, {**routes, name: known})
    await deploy_route(client, wanted, name)
    app.routes.forget()
    if is_new:
        await poll_now(client, app.name, [name])


async def change_route(
    client: PrefectRunStore, app: App, known: KnownRoute, changes: RouteOptions
) -> KnownRoute:
    """Change options of a route; of one in the code until the next deploy.

    Raises:
        RouteError: an option is wrong.
        DispatchError: agents of the route work in the queue that it shall no longer use.
    """
    name = known.route.name
    before = known.definition.options if known.definition else RouteOptions()
    merged = before.merged(changes)
    changed = make_route(app, name, known.route.queue_name, merged, known.source)
    if changed.route.name != name:
        raise RouteError(
            f"Route {name!r}: name={changed.route.name!r} is another name, which cannot be given "
            "over HTTP; make a route of that name, and delete this one."
        )
    moves = changed.route.in_progress_queue != known.route.in_progress_queue
    if moves and await removal.at_work(client, app.name, name):
        raise DispatchError(
            f"Agents of route {name!r} are at work in {known.route.in_progress_queue!r}; "
            "change in_progress_queue when they are done."
        )
    if known.source == "code" and changed.definition and not changed.definition.options.said():
        changed = replace(changed, definition=None)  # nothing is left of the changes
    await put_route(client, app, changed)
    return changed


async def is_made_over_http(client: PrefectRunStore, app: App, name: str) -> bool:
    """Tell whether Prefect holds a route that was made over HTTP, be it one that makes no sense."""
    return any(
        names.API_ROUTE_TAG in d.tags and not removal.is_leaving(d)
        for d in await _deployments(client, app, name)
    )


async def remove_route(
    client: PrefectRunStore, app: App, name: str, source: Literal["code", "api"]
) -> bool:
    """Stop a route: no more polls, no more agents, what waits is cancelled; agents may finish.

    One that was made over HTTP is then deleted; one in the code comes back with the next deploy.
    What Prefect holds of the route need not make sense.

    Returns False if agents of it still work; `finish_removal` deletes it when they are done.
    """
    app.routes.forget()
    gone = await _deployments(client, app, name)
    if source == "code":
        return await removal.retire(client, app.name, name, gone)
    lingering: list[str] = []
    await removal.remove(client, app.name, gone, removal.AT_ONCE, [], lingering)
    app.routes.forget()
    return not lingering


async def finish_removal(client: PrefectRunStore, app: App, name: str) -> bool:
    """Go on with the removal of a route that was made over HTTP; True when nothing is left of it.

    One that was made anew meanwhile is left alone.
    """
    gone = await _deployments(client, app, name)
    leaving = [d for d in gone if removal.is_leaving(d) and names.API_ROUTE_TAG in d.tags]
    if not leaving:
        return True
    lingering: list[str] = []
    await removal.remove(client, app.name, leaving, removal.AT_ONCE, [], lingering)
    return not lingering


async def leaving_routes(client: PrefectRunStore, app: App) -> list[str]:
    """The names of routes made over HTTP whose removal has begun."""
    tags = (names.API_ROUTE_TAG, names.LEAVING_TAG)
    found = await deployments_of(client, app.name, *tags)
    return sorted({names.route_of(d.parameters) for d in found.values()})


async def _deployments(client: PrefectRunStore, app: App, name: str) -> list[DeploymentResponse]:
    return list((await deployments_of(client, app.name, names.route_tag(name))).values())
