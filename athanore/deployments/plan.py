"""What an app needs in Prefect, as plain values: no I/O, so that it can be shown and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.routing.routes import Route
from athanore.routing.schedules import Schedule
from athanore.runs.capacity.pausing import queue_description
from athanore.runs.states import StateName
from athanore.runtime.routes.route_registry import KnownRoute, Registry, Routes, ranked_routes
from athanore.runtime.versions import app_version
from athanore.texts import markdown

AGENT_ENTRYPOINT = "athanore.flows.run_agent.run_agent"
POLL_ENTRYPOINT = "athanore.flows.poll_route.poll_route"
SCHEDULE_ENTRYPOINT = "athanore.flows.create_task.create_task"


class Cron(NamedTuple):
    """The times of a schedule."""

    cron: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """One work queue of the agents' pool: a route's place in the order."""

    name: str
    priority: int
    concurrency_limit: int | None
    description: str


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One work pool."""

    name: str
    description: str
    concurrency_limit: int | None
    app: str
    """The reference of the app, as `run.py:dispatcher`: the only one that its runs may name."""
    queues: tuple[QueuePlan, ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """One deployment of one of the flows; a poll has an interval, scheduled work its times."""

    flow: str
    name: str
    entrypoint: str
    pool: str
    queue: str | None
    tags: tuple[str, ...]
    parameters: dict[str, Any]
    description: str
    version: str
    interval: timedelta | None = None
    cron: Cron | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an app needs in Prefect.

    Attributes:
        renamed: the names of routes by those that they had before.
    """

    app: str
    version: str
    pools: tuple[PoolPlan, ...]
    deployments: tuple[DeploymentPlan, ...]
    renamed: Mapping[str, str]


def plan(dispatcher: AgentDispatcher, reference: str, routes: Routes | None = None) -> Plan:
    """Work out what an app needs in Prefect.

    Args:
        reference: where the app is, as `run.py:dispatcher`; it becomes a parameter of every run.
        routes: the app's routes; those of the code by default.
    """
    app, version = dispatcher.name, app_version(dispatcher)
    if routes is None:
        routes = Registry(dispatcher).in_code()
    ranked = [k.route for k in ranked_routes(routes)]
    queues = tuple(
        QueuePlan(
            name=names.slug(route.name),
            priority=rank,
            concurrency_limit=route.max_concurrent,
            description=queue_description(route.name, route.host),
        )
        for rank, route in enumerate(ranked, start=1)
    )
    pools = (
        PoolPlan(
            names.agents_pool(app),
            f"Agents of the Athanore app {app!r}; the limit is max_concurrent_agents.",
            dispatcher.settings.max_concurrent_agents,
            reference,
            queues,
        ),
        PoolPlan(names.polls_pool(app), f"Polls of the Athanore app {app!r}.", None, reference),
    )
    deployments: list[DeploymentPlan] = []
    for known in routes.values():
        described = known.route.describe(dispatcher.default_agent)
        both = (
            _poll(app, known.route, reference, version),
            _agent(app, known.route, reference, version, described),
        )
        deployments += [_with_definition(one, known) for one in both]
    deployments += [
        _schedule(app, schedule, reference, version) for schedule in dispatcher.schedules.values()
    ]
    renamed = {old: route.name for route in ranked for old in route.was}
    return Plan(app, version, pools, tuple(deployments), renamed)


def _with_definition(deployment: DeploymentPlan, known: KnownRoute) -> DeploymentPlan:
    """Have a deployment hold what was said of its route over HTTP."""
    if known.definition is None:
        return deployment
    parameters = {**deployment.parameters, "route": known.definition.parameter()}
    if known.source == "api":
        said, tags = "Made over HTTP.", (*deployment.tags, names.API_ROUTE_TAG)
    else:
        changed = ", ".join(known.changed)
        said, tags = f"Changed over HTTP until the next deploy: {changed}.", deployment.tags
    description = f"{deployment.description}\n\n{said}"
    return replace(deployment, parameters=parameters, tags=tags, description=description)


def _parameters(reference: str, route: Route) -> dict[str, Any]:
    return {"app": reference, "queue_name": route.queue_name, "route_name": route.name}


def _poll(app: str, route: Route, reference: str, version: str) -> DeploymentPlan:
    return DeploymentPlan(
        flow=names.POLL_FLOW,
        name=names.deployment_name(app, route.name),
        entrypoint=POLL_ENTRYPOINT,
        pool=names.polls_pool(app),
        queue=None,
        tags=("athanore", names.app_tag(app), names.POLL_TAG, names.route_tag(route.name)),
        parameters=_parameters(reference, route),
        description=(
            f"Looks for ready tasks in **{markdown(route.queue_name)}** every "
            f"{route.poll_interval.total_seconds():g} s and creates an agent run for each.\n\n"
            "A run that is started by hand looks at once; if another poll looks already, it ends "
            f"as `{StateName.JOINED}`. Pausing the schedule ends the scheduled looks only; "
            "`athanore pause` and the board page pause the agents, too."
        ),
        version=version,
        interval=route.poll_interval,
    )


def _agent(app: str, route: Route, reference: str, version: str, described: str) -> DeploymentPlan:
    limit = "no limit" if route.timeout is None else f"{route.timeout.total_seconds():g} s"
    aside = route.on_cancel
    cancelled = f"goes to **{markdown(aside)}**" if aside else "stays where it is"
    return DeploymentPlan(
        flow=names.AGENT_FLOW,
        name=names.deployment_name(app, route.name),
        entrypoint=AGENT_ENTRYPOINT,
        pool=names.agents_pool(app),
        queue=names.slug(route.name),
        tags=("athanore", names.app_tag(app), names.AGENT_TAG, names.route_tag(route.name)),
        parameters=_parameters(reference, route),
        description=(
            f"Has an agent work on one task of **{markdown(route.queue_name)}**: "
            f"{markdown(described)}.\n\n"
            f"- while it works the task is in **{markdown(route.in_progress_queue)}**\n"
            f"- timeout: {limit}; retries: {route.retry.max_retries}; "
            f"dead letters: {markdown(route.dead_letter_queue or 'left in place')}\n\n"
            "- **Run** by hand: give the `task_id` of a task in that queue. It gets its agent as "
            f"from a poll; the run that was started by hand ends as `{StateName.HANDED_OVER}`.\n"
            f"- **Cancel** a run: its agent is stopped, and the task {cancelled}.\n"
            "- **Retry** a run that failed: the task leaves the dead letters for another attempt.\n"
            "- **Pause** the work queue: no further agent starts, and those at work finish."
        ),
        version=version,
    )


def _schedule(app: str, schedule: Schedule, reference: str, version: str) -> DeploymentPlan:
    return DeploymentPlan(
        flow=names.SCHEDULE_FLOW,
        name=names.deployment_name(app, schedule.name),
        entrypoint=SCHEDULE_ENTRYPOINT,
        pool=names.polls_pool(app),
        queue=None,
        tags=("athanore", names.app_tag(app), names.SCHEDULE_TAG),
        parameters={"app": reference, "schedule": schedule.name},
        description=(
            f"Creates the task {markdown(schedule.name)} in **{markdown(schedule.queue)}** at "
            f"`{schedule.cron}` ({schedule.time_zone}).\n\nA run that is started by hand creates "
            "one at once."
        ),
        version=version,
        cron=Cron(schedule.cron, schedule.time_zone),
    )
