"""The routes of an app: those of the code, and those that were made or changed over HTTP.

What was said over HTTP is kept in the parameters of the routes' deployments, and counts only while
the app has `enable_queue_management`: a definition names a program to start, and Prefect's API may
be open to others. Without it, nothing is asked of Prefect here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect.client.schemas.responses import DeploymentResponse

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.errors import RouteError
from athanore.routing.routes import Route, ranked
from athanore.runs.port import RunStore
from athanore.runtime.routes.definitions import (
    RouteDefinition,
    check_signature,
    define,
    read_definition,
)

logger = logging.getLogger("athanore")

_FRESH = 2.0  # seconds that what was read counts


@dataclass(frozen=True, slots=True)
class KnownRoute:
    """A route as it is now.

    Attributes:
        source: where it was made.
        definition: what was said over HTTP: all of it, or changes until the next deploy.
    """

    route: Route
    source: Literal["code", "api"] = "code"
    definition: RouteDefinition | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """The options of a route in the code that were changed over HTTP."""
        if self.source == "api" or self.definition is None:
            return ()
        return tuple(sorted(self.definition.options.model_fields_set))


type Routes = Mapping[str, KnownRoute]
"""Routes by name: those of the code as registered, then the others as they were made."""


class Registry:
    """Knows the routes of one app; asks Prefect at most every 2 s."""

    def __init__(self, dispatcher: AgentDispatcher) -> None:
        self._dispatcher = dispatcher
        self._known: Routes | None = None
        self._read_at = 0.0
        self._told: set[str] = set()

    @property
    def is_open(self) -> bool:
        """True where routes may be made and changed over HTTP."""
        return self._dispatcher.settings.enable_queue_management

    async def read(self, prefect: RunStore, *, fresh: bool = False) -> Routes:
        """Return all routes.

        Args:
            fresh: as Prefect has them now, whatever is remembered.
        """
        if not self.is_open:
            return self.in_code()
        age = time.monotonic() - self._read_at
        if self._known is None or fresh or age > _FRESH:
            found = await route_deployments(prefect, self._dispatcher.name)
            self._known, self._read_at = self._from(found), time.monotonic()
        return self._known

    def remembered(self) -> Routes:
        """The routes as they were read last, without asking."""
        return self._known if self._known is not None and self.is_open else self.in_code()

    def forget(self) -> None:
        """Ask Prefect again next time."""
        self._known = None

    def in_code(self) -> Routes:
        """The routes as the code has them."""
        return {n: KnownRoute(r) for n, r in self._dispatcher.routes.items()}

    async def find(self, prefect: RunStore, parameters: Mapping[str, Any]) -> Route:
        """Return the route of a run as it is now.

        Args:
            parameters: the run's. What they hold of the route, as it was when the run was created,
                is used when the route's deployments are gone, so that its agents can finish.

        Raises:
            RouteError: the app has no such route.
        """
        known = called(await self.read(prefect), names.route_of(parameters))
        return self.resolve(parameters) if known is None else known.route

    def resolve(self, parameters: Mapping[str, Any]) -> Route:
        """Return the route that a run's parameters describe: see `find`.

        Raises:
            RouteError: the app has no such route.
        """
        name, parameter = names.route_of(parameters), parameters.get("route")
        known = called(self.in_code(), name)
        if parameter is not None and self.is_open:
            known = self._define(parameters) or known
        if known is None:
            why = (
                "it was made over HTTP, and the app runs without enable_queue_management=True"
                if parameter is not None and not self.is_open
                else "deploy the app again"
            )
            raise RouteError(f"The app has no route for {name!r}; {why}.")
        return known.route

    def _define(self, parameters: Mapping[str, Any]) -> KnownRoute | None:
        """Make a route of what Prefect holds of it, which anybody may have written there.

        Raises:
            RouteError: it is no definition, or none that counts.
        """
        name, queue_name = names.route_of(parameters), str(parameters.get("queue_name"))
        try:
            definition = read_definition(name, parameters["route"])
            check_signature(self._dispatcher, name, queue_name, definition)
            route = define(self._dispatcher, name, queue_name, definition)
        except RouteError:
            raise
        except Exception as exc:
            raise RouteError(
                f"Route {name!r}: its definition in Prefect is broken: "
                f"{type(exc).__name__}: {exc}. Delete the route and make it anew."
            ) from exc
        if route is None:
            return None
        source = "code" if name in self._dispatcher.routes else "api"
        return KnownRoute(route, source, definition)

    def _from(self, deployments: Iterable[DeploymentResponse]) -> Routes:
        routes = dict(self.in_code())
        for deployment in deployments:
            name = names.route_of(deployment.parameters)
            if names.LEAVING_TAG in deployment.tags:
                routes.pop(name, None)
                continue
            if deployment.parameters.get("route") is None:
                continue
            try:
                known = self._define(deployment.parameters)
            except RouteError as exc:
                # One broken definition is no other route's matter.
                if str(exc) not in self._told:
                    logger.error("%s", exc, extra={"action": "route_definition_broken"})
                    self._told.add(str(exc))
                continue
            if known is not None:
                routes[name] = known
                self._tell_what_is_amiss(known.route)
        return routes

    def _tell_what_is_amiss(self, route: Route) -> None:
        try:
            route.check_together()
        except RouteError as exc:
            text = f"{exc} Its definition in Prefect says so; change it, or the code."
            if text not in self._told:
                logger.error("%s", text, extra={"action": "route_definition_unfit"})
                self._told.add(text)


def called(routes: Routes, name: str) -> KnownRoute | None:
    """The route of a name, or the one that had it before."""
    if name in routes:
        return routes[name]
    return next((known for known in routes.values() if name in known.route.was), None)


def ranked_routes(routes: Routes) -> list[KnownRoute]:
    """The routes in the order in which slots are given to them."""
    return [routes[r.name] for r in ranked(k.route for k in routes.values())]


async def app_deployments(prefect: RunStore, app: str, *tags: str) -> list[DeploymentResponse]:
    """Return an app's deployments, by name; with tags, those that have all of them."""
    return await prefect.deployments(["athanore", names.app_tag(app), *tags])


async def deployments_of(
    prefect: RunStore, app: str, *tags: str
) -> dict[tuple[UUID, str], DeploymentResponse]:
    """Return an app's deployments by flow id and name; with tags, those that have all of them."""
    return {(d.flow_id, d.name): d for d in await app_deployments(prefect, app, *tags)}


async def route_deployments(
    prefect: RunStore, app: str, kind: str = names.POLL_TAG
) -> list[DeploymentResponse]:
    """Return an app's deployments of one kind, in the order in which they were made."""
    found = await app_deployments(prefect, app, kind)
    return sorted(found, key=lambda d: (d.created is None, d.created, d.name))
