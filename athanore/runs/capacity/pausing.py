"""Pausing a route: its polls stop, and no agent starts. Running agents are left alone.

A route that pauses itself may resume by itself: a poll with `resume=True` is scheduled in Prefect
for that time, so that it outlives the worker.

The pause is kept where Prefect's own UI shows and changes it: the poll's deployment (with its
schedule) and the route's work queue. That the route paused itself, and why, is a variable in
Prefect: people may write what they like into the description of the queue, and a pause without
such a mark is a person's. Note that on PostgreSQL Prefect leaves a paused queue's
running runs out of the pool's limit; the gate in `limits` still counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Any, cast

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import emit_event
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Scheduled

from athanore import names
from athanore.errors import DispatchError

RESUME = "resume"
"""The parameter of a poll that ends the route's own pause first."""

_MARK = "athanore-pause"


def queue_description(route: str) -> str:
    """What a route's work queue says of itself while the route is not paused."""
    return f"Tasks of {route!r}; served in order of priority."


async def pause(
    client: PrefectClient,
    app: str,
    route: str,
    *,
    reason: str = "",
    resume_at: datetime | None = None,
    account: str = "",
) -> None:
    """Pause a route; safe to repeat.

    Args:
        reason: why the route was paused by itself; shown on its work queue, and told by an event.
            A route that is paused already stays as it is.
        resume_at: when such a route tries again; None: a person resumes it.
        account: whose limit at a provider pauses it; the reason says until when.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, route)
    queue = await _work_queue(client, agent)
    shown = reason
    if not reason:
        await forget_mark(client, app, route)
    elif queue is not None and queue.is_paused:
        return  # by a person, or because another task of the route failed in the same way
    else:
        again = f" It tries again at {resume_at:%Y-%m-%d %H:%M} UTC." if resume_at else ""
        shown = reason if account else f"{reason}{again}"
        await _mark(client, app, route, shown, account)
    await client.pause_deployment(poll.id)
    if queue is not None:
        description = shown or queue_description(route)
        await client.update_work_queue(queue.id, is_paused=True, description=description)
    if resume_at is not None:
        await client.create_flow_run_from_deployment(
            poll.id,
            parameters={RESUME: True},
            state=Scheduled(scheduled_time=resume_at, message="The route resumes by itself."),
            name=f"resume {route}",
        )
    if reason:
        resource = {
            "prefect.resource.id": names.route_resource(app, route),
            "prefect.resource.name": route,
            "athanore.app": app,
        }
        emit_event(event="athanore.route.paused", resource=resource, payload={"reason": reason})


async def resume_by_itself(client: PrefectClient, app: str, route: str) -> bool:
    """Resume a route that paused itself, and say whether it did; one that a person paused stays so.

    Raises:
        DispatchError: the route is not deployed.
    """
    _, agent = await _deployments(client, app, route)
    queue = await _work_queue(client, agent)
    if queue is None or route not in await pause_reasons(client, app, [queue]):
        return False
    await resume(client, app, route)
    return True


async def resume(client: PrefectClient, app: str, route: str) -> None:
    """Let a route go on, whichever way it was paused; safe to repeat.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, route)
    for deployment in (poll, agent):
        if deployment.paused:
            await client.resume_deployment(deployment.id)
        for schedule in deployment.schedules:
            if not schedule.active:
                await client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    if agent.work_queue_id is not None:
        await client.update_work_queue(
            agent.work_queue_id, is_paused=False, description=queue_description(route)
        )
    await forget_mark(client, app, route)


async def paused_parts(client: PrefectClient, app: str, route: str) -> tuple[str, ...]:
    """Name what of a route is paused: `polls`, `agents`, both or nothing.

    Raises:
        DispatchError: the route is not deployed.
    """
    poll, agent = await _deployments(client, app, route)
    parts: list[str] = []
    if polls_are_paused(poll):
        parts.append("polls")
    if agent.work_queue_id is not None:
        queue = await client.read_work_queue(agent.work_queue_id)
        if queue.is_paused:
            parts.append("agents")
    return tuple(parts)


async def pause_reasons(
    client: PrefectClient, app: str, queues: Iterable[WorkQueue]
) -> dict[str, str]:
    """Say of the routes that paused themselves why they did, by their names.

    Args:
        queues: work queues of the app's agents, which are called as their routes.
    """
    paused = {names.unslug(q.name) for q in queues if q.is_paused}
    if not paused:
        return {}
    query = {"variables": {"tags": {"all_": [_MARK, names.app_tag(app)]}}, "limit": 200}
    response = await client.request("POST", cast(Any, "/variables/filter"), json=query)
    marks = [v["value"] for v in response.json()]
    return {m["route"]: m["reason"] for m in marks if m["route"] in paused}


async def account_waited_for(client: PrefectClient, app: str, route: str) -> str:
    """Whose limit at a provider a route waits for; "" if it is paused for another reason."""
    mark = await client.read_variable_by_name(_mark_name(app, route))
    return "" if mark is None else str(cast(Any, mark.value).get("account", ""))


async def forget_old_mark(client: PrefectClient, app: str, route: str, before: datetime) -> None:
    """Drop the mark of a pause that a person has ended in Prefect's UI: the next one is theirs.

    Args:
        before: only a mark that was made before that; the pause of a newer one may be on its way.
    """
    mark = await client.read_variable_by_name(_mark_name(app, route))
    if mark is None or mark.updated is None or mark.updated > before:
        return
    _, agent = await _deployments(client, app, route)
    queue = await _work_queue(client, agent)
    if queue is not None and not queue.is_paused:
        await forget_mark(client, app, route)


def polls_are_paused(poll: DeploymentResponse) -> bool:
    """Tell whether a poll's deployment or all of its schedules are paused."""
    return poll.paused or not any(s.active for s in poll.schedules)


async def _deployments(
    client: PrefectClient, app: str, route: str
) -> tuple[DeploymentResponse, DeploymentResponse]:
    name = names.deployment_name(app, route)
    try:
        poll = await client.read_deployment_by_name(f"{names.POLL_FLOW}/{name}")
        agent = await client.read_deployment_by_name(f"{names.AGENT_FLOW}/{name}")
    except ObjectNotFound as exc:
        raise DispatchError(
            f"Route {route!r} is not deployed; run `athanore deploy` first."
        ) from exc
    return poll, agent


async def _work_queue(client: PrefectClient, agent: DeploymentResponse) -> WorkQueue | None:
    """The route's work queue; None if its agents have none."""
    if agent.work_queue_id is None:
        return None
    try:
        return await client.read_work_queue(agent.work_queue_id)
    except ObjectNotFound:
        return None


def _mark_name(app: str, route: str) -> str:
    # Prefect takes short names of few characters only.
    return f"{_MARK}-{sha256(names.route_resource(app, route).encode()).hexdigest()[:32]}"


async def _mark(client: PrefectClient, app: str, route: str, reason: str, account: str) -> None:
    """Note that the route pauses itself; before it does, so that a pause is never without it."""
    name = _mark_name(app, route)
    value = {"route": route, "reason": reason, "account": account}
    try:
        await client.create_variable(
            VariableCreate(name=name, value=value, tags=[_MARK, names.app_tag(app)])
        )
    except ObjectAlreadyExists:
        await client.update_variable(VariableUpdate(name=name, value=value))


async def forget_mark(client: PrefectClient, app: str, route: str) -> None:
    """Forget that a route paused itself: from now on its pause is a person's."""
    with suppress(ObjectNotFound):
        await client.delete_variable_by_name(_mark_name(app, route))
