"""Routes that have another name now: what was under way goes on under the new one.

A run whose agent has begun once is given the new name, in its tags and parameters; it keeps the
deployment of the old name, which is deleted when none of its runs is open. A run that has not begun
is cancelled: the poll of the new name finds its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Cancelled

from athanore import names
from athanore.deployments import removal
from athanore.deployments.plan import Plan
from athanore.errors import DispatchError
from athanore.runs import store
from athanore.runs.capacity import pausing
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import StateName

_PAGE = 200
_OPEN = (*store.WAITING, *store.WORKING)


async def take_over(
    client: PrefectRunStore, wanted: Plan, gone: Sequence[DeploymentResponse], changes: list[str]
) -> list[DeploymentResponse]:
    """Have routes of a plan take over what is open under their former names.

    Args:
        gone: the app's deployments that are not planned.
        changes: gets a line for each name that was given up.

    Returns the deployments in `gone` that no route was called after.
    """
    left: list[DeploymentResponse] = []
    for old in _first_taken_over(wanted, gone):
        await _take_over_pause(client, wanted.app, old, wanted.renamed[old])
    for deployment in gone:
        old = names.route_of(deployment.parameters)
        new = wanted.renamed.get(old)
        if new is None:
            left.append(deployment)
        elif names.POLL_TAG in deployment.tags:
            await removal.delete(client, deployment)
        else:
            parameters = _parameters_of(wanted, new)
            taken = [
                await _take_over_run(client, run, old, new, parameters)
                for run in await _open_runs(client, deployment)
            ]
            if not any(taken):
                await removal.delete_queue(client, wanted.app, deployment)
                await removal.delete(client, deployment)
                changes.append(f"route {old!r} is called {new!r} now")
    return left


def _first_taken_over(wanted: Plan, gone: Sequence[DeploymentResponse]) -> list[str]:
    """The former names that are taken over by this deploy: a later one finds no polls of them."""
    polled = [names.route_of(d.parameters) for d in gone if names.POLL_TAG in d.tags]
    return [name for name in polled if name in wanted.renamed]


async def _take_over_pause(client: PrefectRunStore, app: str, old: str, new: str) -> None:
    """Have a route that a person paused stay paused under its new name.

    A route that has paused itself tries again: what it waits for makes it pause anew. Its runs wait
    in the work queue of the old name, which nobody would resume.
    """
    try:
        paused = await pausing.paused_parts(client, app, old)
    except DispatchError:
        return  # half of it is gone
    if paused and await pausing.is_own(client, app, old):
        await pausing.forget_mark(client, app, old)
        await pausing.switch_former(client, app, [old], paused=False)
    elif "polls" in paused:
        await pausing.pause(client, app, new)
        await pausing.switch_former(client, app, [old], paused=True)
    elif paused:
        await pausing.switch_former(client, app, [new], paused=True)


async def _take_over_run(
    client: PrefectRunStore, run: FlowRun, old: str, new: str, parameters: dict[str, Any]
) -> bool:
    """Give a run its new name; False if it was cancelled instead."""
    if run.state_type is StateType.SCHEDULED and not run.run_count:
        message = f"The route {old!r} is called {new!r} now."
        await client.set_flow_run_state(
            run.id, Cancelled(name=StateName.SUPERSEDED, message=message)
        )
        return False
    if names.route_of(run.parameters) != new:
        tags = [names.route_tag(new) if t == names.route_tag(old) else t for t in run.tags]
        await client.update_flow_run(run.id, tags=tags, parameters=run.parameters | parameters)
    return True


def _parameters_of(wanted: Plan, route: str) -> dict[str, Any]:
    return next(d.parameters for d in wanted.deployments if names.route_of(d.parameters) == route)


async def _open_runs(client: PrefectRunStore, deployment: DeploymentResponse) -> list[FlowRun]:
    found: list[FlowRun] = []
    query = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_OPEN))),
    )
    while True:
        page = await client.read_flow_runs(flow_run_filter=query, limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found
