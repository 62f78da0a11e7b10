"""Bringing Prefect in line with a plan; safe to repeat, and other apps are never touched."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema

from athanore import names
from athanore.deployments import removal
from athanore.deployments.plan import Cron, DeploymentPlan, Plan, plan
from athanore.deployments.pools import IF_ONE_RUNS, PROCESS_TYPE, is_limited, make_pools
from athanore.deployments.renaming import take_over
from athanore.dispatcher import AgentDispatcher
from athanore.flows.create_task import create_task
from athanore.flows.poll_route import poll_route
from athanore.flows.run_agent import run_agent
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.routes.route_registry import Registry, deployments_of

logger = logging.getLogger("athanore.deployments")

_SCHEDULED_AT_ONCE = 3
"""Polls of a new deployment; Prefect's scheduler, which looks every few seconds, adds the rest."""

_FLOWS: dict[str, Flow[..., Any]] = {
    names.POLL_FLOW: poll_route,
    names.AGENT_FLOW: run_agent,
    names.SCHEDULE_FLOW: create_task,
}


@dataclass(frozen=True, slots=True)
class _KnownFlow:
    """A flow as Prefect knows it: its id there, and the schema of its parameters."""

    id: UUID
    schema: dict[str, Any]


@dataclass(slots=True)
class Deployed:
    """What a deploy did.

    Attributes:
        ids: the deployments' ids by `flow/name`.
        changes: a line for each thing that was changed; none if all was as planned.
        lingering: removed routes whose agents still work; the next deploy finishes their removal.
    """

    ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    changes: list[str] = field(default_factory=list[str])
    lingering: list[str] = field(default_factory=list[str])


async def planned(client: PrefectRunStore, dispatcher: AgentDispatcher, reference: str) -> Plan:
    """Plan what a deploy is to make: the code's routes as the code has them, and those of others.

    What was changed over HTTP of a route in the code ends with this; see `plan` for `reference`.
    """
    registry = Registry(dispatcher)
    known = await registry.read(client)
    made = {n: k for n, k in known.items() if k.source == "api"}
    return plan(dispatcher, reference, {**registry.in_code(), **made})


async def deploy(
    client: PrefectRunStore,
    wanted: Plan,
    *,
    drain: timedelta = timedelta(0),
    pool_type: str | None = None,
) -> Deployed:
    """Make pools, queues and deployments as planned; remove this app's routes that are gone.

    Pauses are an operator's, not the code's: a paused route stays paused.

    Args:
        drain: how long to wait for the running agents of a removed route.
        pool_type: the type of new work pools; see `make_pools`.

    Raises:
        ConfigurationError: a pool exists and is of another type than the one asked for.
    """
    done = Deployed(changes=await make_pools(client, wanted.pools, pool_type))
    existing = await deployments_of(client, wanted.app)
    await _put_all(client, wanted, wanted.deployments, existing, done)
    # A route that was made over HTTP and is not planned: such routes are switched off for now.
    gone = [
        d for d in existing.values() if names.API_ROUTE_TAG not in d.tags or removal.is_leaving(d)
    ]
    gone = await take_over(client, wanted, gone, done.changes)
    await removal.remove(client, wanted.app, gone, drain, done.changes, done.lingering)
    return done


async def deploy_route(client: PrefectRunStore, wanted: Plan, route: str) -> Deployed:
    """Make one route of a plan in Prefect, and the order of all; other routes are left as they are.

    A route whose removal has begun is taken back.
    """
    done = Deployed(changes=await make_pools(client, wanted.pools))
    of_route = [d for d in wanted.deployments if names.route_of(d.parameters) == route]
    # The agents' deployment first: a poll may need it at once.
    of_route.sort(key=lambda d: d.flow != names.AGENT_FLOW)
    existing = await deployments_of(client, wanted.app, names.route_tag(route))
    await _put_all(client, wanted, of_route, existing, done)
    return done


async def _put_all(
    client: PrefectRunStore,
    wanted: Plan,
    deployments: Iterable[DeploymentPlan],
    existing: dict[tuple[UUID, str], DeploymentResponse],
    done: Deployed,
) -> None:
    """Make deployments as planned; those that there were are taken out of `existing`."""
    steps = {p.name: await _pull_steps(client, p.name) for p in wanted.pools}
    flows = {
        name: _KnownFlow(
            await client.create_flow(flow), parameter_schema(flow).model_dump_for_openapi()
        )
        for name, flow in _FLOWS.items()
    }
    for deployment in deployments:
        key, flow = f"{deployment.flow}/{deployment.name}", flows[deployment.flow]
        pull = steps[deployment.pool]
        there = existing.pop((flow.id, deployment.name), None)
        if there is not None and _matches(there, deployment, pull, flow.schema):
            done.ids[key] = there.id
            continue
        done.ids[key] = await _put(client, flow, deployment, pull, there)
        done.changes.append(f"{'created' if there is None else 'updated'} deployment {key!r}")
        if there is not None and removal.is_leaving(there):
            await removal.take_back(client, there)


async def _pull_steps(client: PrefectRunStore, pool: str) -> list[dict[str, Any]]:
    """Tell Prefect's process worker where the app is; it starts runs in an empty folder."""
    if (await client.read_work_pool(pool)).type != PROCESS_TYPE:
        return []
    return [{"prefect.deployments.steps.set_working_directory": {"directory": os.getcwd()}}]


def _matches(
    there: DeploymentResponse,
    wanted: DeploymentPlan,
    steps: list[dict[str, Any]],
    schema: dict[str, Any],
) -> bool:
    """Tell whether a deployment is as planned, so that its schedule can be left alone."""
    return (
        there.parameters == wanted.parameters
        and there.entrypoint == wanted.entrypoint
        and there.path == "."
        and (there.pull_steps or []) == steps
        and there.parameter_openapi_schema == schema
        and there.enforce_parameter_schema
        and set(there.tags) == set(wanted.tags)
        and there.description == wanted.description
        and there.version == wanted.version
        and there.work_pool_name == wanted.pool
        and there.work_queue_name == (wanted.queue or "default")
        and _is_limited(there) == is_limited(wanted, is_process=bool(steps))
        and [_times(s.schedule) for s in there.schedules] == _wanted_times(wanted)
    )


def _is_limited(there: DeploymentResponse) -> bool:
    limit = there.global_concurrency_limit
    options = there.concurrency_options
    if limit is None or options is None:
        return False
    return limit.limit == 1 and options.collision_strategy is IF_ONE_RUNS


def _times(schedule: object) -> timedelta | Cron | None:
    """When a schedule is due, as a plan says it; None for what no plan says."""
    if isinstance(schedule, IntervalSchedule):
        return schedule.interval
    if isinstance(schedule, CronSchedule):
        return Cron(schedule.cron, schedule.timezone or "UTC")
    return None


def _wanted_times(wanted: DeploymentPlan) -> list[timedelta | Cron]:
    return [times for times in (wanted.interval, wanted.cron) if times is not None]


async def _put(
    client: PrefectRunStore,
    flow: _KnownFlow,
    wanted: DeploymentPlan,
    steps: list[dict[str, Any]],
    there: DeploymentResponse | None,
) -> UUID:
    """Create a deployment, or replace what is there under its name and keep its id and pause."""
    paused = (
        there is not None and bool(there.schedules) and not any(s.active for s in there.schedules)
    )
    schedules: list[DeploymentScheduleCreate] = []
    for times in _wanted_times(wanted):
        kept = [s.schedule for s in there.schedules] if there is not None else []
        # With the same interval the next poll is due when it was.
        same = [s for s in kept if _times(s) == times]
        schedule = same[0] if same else _schedule_of(times)
        schedules.append(DeploymentScheduleCreate(schedule=schedule, active=not paused))
    limited = is_limited(wanted, is_process=bool(steps))
    deployment_id = await client.create_deployment(
        flow_id=flow.id,
        name=wanted.name,
        version=wanted.version,
        schedules=schedules,
        parameters=dict(wanted.parameters),
        description=wanted.description,
        work_pool_name=wanted.pool,
        work_queue_name=wanted.queue,
        concurrency_limit=1 if limited else None,
        concurrency_options=(
            ConcurrencyOptions(collision_strategy=IF_ONE_RUNS) if limited else None
        ),
        tags=list(wanted.tags),
        entrypoint=wanted.entrypoint,
        path=".",
        pull_steps=steps,
        parameter_openapi_schema=flow.schema,
        enforce_parameter_schema=True,
    )
    if schedules and not paused and not (there is not None and there.paused):
        await _schedule(client, deployment_id)
    return deployment_id


def _schedule_of(times: timedelta | Cron) -> IntervalSchedule | CronSchedule:
    if isinstance(times, timedelta):
        return IntervalSchedule(interval=times)
    return CronSchedule(cron=times.cron, timezone=times.time_zone)


async def _schedule(client: PrefectRunStore, deployment_id: UUID) -> None:
    """Have Prefect schedule the first polls now: a worker that starts next then finds them.

    It asks only every ten seconds, and would miss those that are scheduled after its first look.
    """
    path = cast(Any, f"/deployments/{deployment_id}/schedule")
    runs = {"min_runs": _SCHEDULED_AT_ONCE, "max_runs": _SCHEDULED_AT_ONCE}
    try:
        await client.request("POST", path, json=runs)
    except PrefectHTTPStatusError as exc:
        logger.debug("The first polls were not scheduled at once: %s", exc)


async def poll_now(client: PrefectRunStore, app: str, routes: Iterable[str]) -> None:
    """Have routes that are not paused polled at once, instead of at their next scheduled time."""
    for route in routes:
        name = f"{names.POLL_FLOW}/{names.deployment_name(app, route)}"
        deployment = await client.read_deployment_by_name(name)
        if not deployment.paused:
            await client.create_flow_run_from_deployment(deployment.id, name="first poll")
