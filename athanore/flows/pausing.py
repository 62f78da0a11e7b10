"""Pausing a route: its polls stop, and no agent starts. Running agents are left alone.

The pause is kept where Prefect's own UI shows and changes it: the poll's deployment (with its
schedule) and the route's work queue. Note that on PostgreSQL Prefect leaves a paused queue's
running runs out of the pool's limit; the gate in `limits` still counts them.
"""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.errors import DispatchError


def queue_description(queue_name: str) -> str:
    """What a route's work queue says of itself while the route is not paused."""
    return f"Tasks of {queue_name!r}; served in order of priority."


async def pause(client: PrefectClient, app: str, queue_name: str, *, reason: str = "") -> None:
    """Pause a route; safe to repeat.

    Args:
        reason: why the route was paused by itself; shown on its work queue, and told by an event.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, queue_name)
    await client.pause_deployment(poll.id)
    if agent.work_queue_id is not None:
        description = reason or queue_description(queue_name)
        await client.update_work_queue(agent.work_queue_id, is_paused=True, description=description)
    if reason:
        resource = {
            "prefect.resource.id": names.route_resource(app, queue_name),
            "prefect.resource.name": queue_name,
        }
        emit_event(event="athanore.route.paused", resource=resource, payload={"reason": reason})


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
