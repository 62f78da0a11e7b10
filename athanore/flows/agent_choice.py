"""Which agent works on a task, where the route says that by a function of the task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from athanore.agent_adapters.common.by_task import adapter_for, depends_on_task
from athanore.dispatcher import AgentDispatcher
from athanore.errors import AgentChoiceError
from athanore.models import Task
from athanore.routing.route_rules import check_budgets
from athanore.routing.routes import Route
from athanore.runtime.apps import App


def is_by_task(dispatcher: AgentDispatcher, route: Route) -> bool:
    """Tell whether it is known only of a task which agent of a route works on it."""
    return any(
        map(depends_on_task, (route.agent or dispatcher.default_agent, route.fallback_agent))
    )


async def with_agent(app: App, route: Route, read: Callable[[], Awaitable[Task]]) -> Route:
    """The route with the agent for a task, as the board has the task now.

    Args:
        read: the task; it is called only if the agent depends on that.

    Raises:
        AgentChoiceError: the function fails, or its agent will not do.
        BoardError: the task could not be read.
    """
    if not is_by_task(app.dispatcher, route):
        return route
    task = await read()
    try:
        # Functions of the user's may take their time.
        return await asyncio.to_thread(_with_agent, app.dispatcher, route, task)
    except Exception as exc:
        raise AgentChoiceError(route.name, task.id, exc) from exc


def _with_agent(dispatcher: AgentDispatcher, route: Route, task: Task) -> Route:
    agent, fallback = route.agent or dispatcher.default_agent, route.fallback_agent
    found = replace(
        route,
        agent=None if agent is None else adapter_for(agent, task),
        fallback_agent=None if fallback is None else adapter_for(fallback, task),
    )
    for turn in found.by_turns():
        check_budgets(dispatcher.agent_for(turn), turn)
    return found
