"""Whose usage limits at a provider count for a route, and what is known of its costs."""

from __future__ import annotations

import os

from athanore import names
from athanore.agent_adapters.base import Meter, SupportsAccount
from athanore.errors import ConfigurationError
from athanore.routing.route_rules import meter
from athanore.routing.routes import Route
from athanore.runtime.apps import App


def account_of(app: App, route: Route) -> str:
    """The account of a route's agent; the route alone where its adapter names none."""
    try:
        agent = app.dispatcher.agent_for(route)
    except ConfigurationError:
        agent = None
    if isinstance(agent, SupportsAccount):
        return agent.account({**os.environ, **route.env})
    return names.route_resource(app.name, route.name)


def meter_of(app: App, route: Route) -> Meter:
    """What is known of what a route's agent uses; nothing of an adapter that does not say it."""
    try:
        agent = app.dispatcher.agent_for(route)
    except ConfigurationError:
        return Meter(route.name)
    return meter(agent, route)
