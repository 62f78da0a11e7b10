"""Pausing a route: its polls stop, and no agent starts. Running agents are left alone.

A route that pauses itself may resume by itself: a poll with `resume=True` is scheduled in Prefect
for that time, so that it outlives the worker.

The pause is kept where Prefect's own UI shows and changes it: the poll's deployment (with its
schedule) and the route's work queue. Note that on PostgreSQL Prefect leaves a paused queue's
running runs out of the pool's limit; the gate in `limits` still counts them.
"""

from __future__ import annotations

from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from athanore import names
from athanore.errors import DispatchError

RESUME = "resume"
"""The parameter of a poll that ends the route's own pause first."""


def queue_description(queue_name: str) -> str:
    """What a route's work queue says of itself while the route is not paused."""
    return f"Tasks of {queue_name!r}; served in order of priority."


async def pause(
    client: PrefectClient,
    app: str,
    queue_name: str,
    *,
    reason: str = "",
    resume_at: datetime | None = None,
) -> None:
    """Pause a route; safe to repeat.

    Args:
        reason: why the route was paused by itself; shown on its work queue, and told by an event.
        resume_at: when such a route tries again; None: a person resumes it.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, queue_name)
    await client.pause_deployment(poll.id)
    if agent.work_queue_id is not None:
        there = await client.read_work_queue(agent.work_queue_id)
        if reason and pause_reason(there, queue_name):
            return  # another task of the route failed in the same way meanwhile
        again = f" It tries again at {resume_at:%Y-%m-%d %H:%M} UTC." if resume_at else ""
        description = f"{reason}{again}" if reason else queue_description(queue_name)
        await client.update_work_queue(agent.work_queue_id, is_paused=True, description=description)
    if resume_at is not None:
        await client.create_flow_run_from_deployment(
            poll.id,
            parameters={RESUME: True},
            state=Scheduled(scheduled_time=resume_at, message="The route resumes by itself."),
            name=f"resume {queue_name}",
        )
    if reason:
        resource = {
            "prefect.resource.id": names.route_resource(app, queue_name),
            "prefect.resource.name": queue_name,
            "athanore.app": app,
        }
        emit_event(event="athanore.route.paused", resource=resource, payload={"reason": reason})


async def resume_by_itself(client: PrefectClient, app: str, queue_name: str) -> bool:
    """Resume a route that paused itself, and say whether it did; one that a person paused stays so.

    Raises:
        DispatchError: the route is not deployed.
    """
    _, agent = await _deployments(client, app, queue_name)
    if agent.work_queue_id is None:
        return False
    if pause_reason(await client.read_work_queue(agent.work_queue_id), queue_name) is None:
        return False
    await resume(client, app, queue_name)
    return True


async def resume(client: PrefectClient, app: str, queue_name: str) -> None:
    """Let a route go on, whichever way it was paused; safe to repeat.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, queue_name)
    for deployment in (poll, agent):
        if deployment.paused:
            await client.resume_deployment(deployment.id)
        for schedule in deployment.schedules:
            if not schedule.active:
                await client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    if agent.work_queue_id is not None:
        await client.update_work_queue(
            agent.work_queue_id, is_paused=False, description=queue_description(queue_name)
        )


async def paused_parts(client: PrefectClient, app: str, queue_name: str) -> tuple[str, ...]:
    """Name what of a route is paused: `polls`, `agents`, both or nothing.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, queue_name)
    parts: list[str] = []
    if polls_are_paused(poll):
        parts.append("polls")
    if agent.work_queue_id is not None:
        queue = await client.read_work_queue(agent.work_queue_id)
        if queue.is_paused:
            parts.append("agents")
    return tuple(parts)


def pause_reason(queue: WorkQueue, queue_name: str) -> str | None:
    """Why a route paused itself; None if it is not paused, or was by a person."""
    if not queue.is_paused or queue.description in (None, queue_description(queue_name)):
        return None
    return queue.description


def polls_are_paused(poll: DeploymentResponse) -> bool:
    """Tell whether a poll's deployment or all of its schedules are paused."""
    return poll.paused or not any(s.active for s in poll.schedules)


async def _deployments(
    client: PrefectClient, app: str, queue_name: str
) -> tuple[DeploymentResponse, DeploymentResponse]:
    name = names.deployment_name(app, queue_name)
    try:
        poll = await client.read_deployment_by_name(f"{names.POLL_FLOW}/{name}")
        agent = await client.read_deployment_by_name(f"{names.AGENT_FLOW}/{name}")
    except ObjectNotFound as exc:
        raise DispatchError(
            f"The route of {queue_name!r} is not deployed; run `athanore deploy` first."
        ) from exc
    return poll, agent
