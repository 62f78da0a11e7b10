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

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.errors import RouteError, RouteNotFoundError
from athanore.routes import Route, ranked
from athanore.runtime.definitions import RouteDefinition, check_signature, define, read_definition

logger = logging.getLogger("athanore")

_PAGE = 100
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
"""Routes by queue name: those of the code as registered, then the others as they were made."""


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

    async def read(self, client: PrefectClient, *, fresh: bool = False) -> Routes:
        """Return all routes.

        Args:
            fresh: as Prefect has them now, whatever is remembered.
        """
        if not self.is_open:
            return self.in_code()
        age = time.monotonic() - self._read_at
        if self._known is None or fresh or age > _FRESH:
            found = await route_deployments(client, self._dispatcher.name)
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
        return {q: KnownRoute(r) for q, r in self._dispatcher.routes.items()}

    async def find(
        self, client: PrefectClient, queue_name: str, parameter: Mapping[str, Any] | None = None
    ) -> Route:
        """Return the route of a queue as it is now.

        Args:
            parameter: what the run's parameters hold of it, as they were when it was created; used
                when the route's deployments are gone, so that its agents can finish.

        Raises:
            RouteError: the app has no such route.
        """
        known = (await self.read(client)).get(queue_name)
        return self.resolve(queue_name, parameter) if known is None else known.route

    def resolve(self, queue_name: str, parameter: Mapping[str, Any] | None) -> Route:
        """Return the route that a run's parameters describe: see `find`.

        Raises:
            RouteError: the app has no such route.
        """
        route = self._dispatcher.routes.get(queue_name)
        if parameter is not None and self.is_open:
            known = self._define(queue_name, parameter)
            route = route if known is None else known.route
        if route is None:
            why = (
                "it was made over HTTP, and the app runs without enable_queue_management=True"
                if parameter is not None and not self.is_open
                else "deploy the app again"
            )
            raise RouteError(f"The app has no route for {queue_name!r}; {why}.")
        return route

    def _define(self, queue_name: str, parameter: Mapping[str, Any]) -> KnownRoute | None:
        """Make a route of what Prefect holds of it, which anybody may have written there.

        Raises:
            RouteError: it is no definition, or none that counts.
        """
        try:
            definition = read_definition(queue_name, parameter)
            check_signature(self._dispatcher, queue_name, definition)
            route = define(self._dispatcher, queue_name, definition)
        except RouteError:
            raise
        except Exception as exc:
            raise RouteError(
                f"Route {queue_name!r}: its definition in Prefect is broken: "
                f"{type(exc).__name__}: {exc}. Delete the route and make it anew."
            ) from exc
        if route is None:
            return None
        source = "code" if queue_name in self._dispatcher.routes else "api"
        return KnownRoute(route, source, definition)

    def _from(self, deployments: Iterable[DeploymentResponse]) -> Routes:
        routes = dict(self.in_code())
        for deployment in deployments:
            queue_name = queue_of(deployment)
            if names.LEAVING_TAG in deployment.tags:
                routes.pop(queue_name, None)
                continue
            parameter = deployment.parameters.get("route")
            if parameter is None:
                continue
            try:
                known = self._define(queue_name, parameter)
            except RouteError as exc:
                # One broken definition is no other route's matter.
                if str(exc) not in self._told:
                    logger.error("%s", exc, extra={"action": "route_definition_broken"})
                    self._told.add(str(exc))
                continue
            if known is not None:
                routes[queue_name] = known
        return routes


def route_of(routes: Routes, queue_name: str) -> Route:
    """Return the route that watches a queue.

    Raises:
        RouteNotFoundError: there is none; the message names those that there are.
    """
    if queue_name not in routes:
        raise RouteNotFoundError(queue_name, routes)
    return routes[queue_name].route


def listed(queues: Iterable[str]) -> str:
    """Name queues in a message."""
    return ", ".join(repr(q) for q in queues) or "none"


def ranked_routes(routes: Routes) -> list[KnownRoute]:
    """The routes in the order in which slots are given to them."""
    return [routes[r.queue_name] for r in ranked(k.route for k in routes.values())]


def queue_of(deployment: DeploymentResponse) -> str:
    """The queue that a deployment is for."""
    return str(deployment.parameters.get("queue_name"))


async def app_deployments(client: PrefectClient, app: str, *tags: str) -> list[DeploymentResponse]:
    """Return an app's deployments, by name; with tags, those that have all of them."""
    wanted = DeploymentFilterTags(all_=["athanore", names.app_tag(app), *tags])
    found: list[DeploymentResponse] = []
    while True:
        page = await client.read_deployments(
            deployment_filter=DeploymentFilter(tags=wanted),
            sort=DeploymentSort.NAME_ASC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


async def deployments_of(
    client: PrefectClient, app: str, *tags: str
) -> dict[tuple[UUID, str], DeploymentResponse]:
    """Return an app's deployments by flow id and name; with tags, those that have all of them."""
    return {(d.flow_id, d.name): d for d in await app_deployments(client, app, *tags)}


async def route_deployments(
    client: PrefectClient, app: str, kind: str = names.POLL_TAG
) -> list[DeploymentResponse]:
    """Return an app's deployments of one kind, in the order in which they were made."""
    found = await app_deployments(client, app, kind)
    return sorted(found, key=lambda d: (d.created is None, d.created, d.name))
