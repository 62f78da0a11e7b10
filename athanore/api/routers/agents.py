"""Endpoints of running agents, on whichever worker they run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from prefect.client.schemas.objects import FlowRun, StateType
from pydantic import BaseModel, Field

from athanore import names
from athanore.api.events.event_log import AgentEventModel, newest_events
from athanore.api.prefect.agent_runs import queue_of, run_url, worker_of
from athanore.api.problems import Problem, documented
from athanore.api.service import ServiceDep, TaskIdDep
from athanore.runs.records.record import record_of
from athanore.runs.store import route_name
from athanore.runtime.routes.route_registry import Routes, called

_SHOWN_EVENTS = 200

router = APIRouter(tags=["agents"])


class AgentModel(BaseModel):
    """An agent at work."""

    task_id: str
    task_name: str
    route: str = Field(description="The name of the route.")
    queue_name: str = Field(description="The queue that the task was taken from.")
    state: str = Field(description="Running or Cancelling.")
    started_at: datetime = Field(description="When this attempt began.")
    runtime: float = Field(description="Seconds since then.")
    timeout: float | None = Field(description="Seconds that the agent may run; null for no limit.")
    attempt: int = Field(description="From 1.")
    worker: str | None = Field(description="Who runs it: host and process.")
    run_id: str = Field(description="The id of the Prefect flow run.")
    run_url: str | None = Field(description="The run in Prefect's UI.")


class AgentDetailModel(AgentModel):
    """An agent at work, and what it did."""

    events: list[AgentEventModel] = Field(
        description=f"The newest {_SHOWN_EVENTS} events since the run began, oldest first, "
        "as Prefect's database has them: up to 5 s late. /tasks/{task_id}/events has "
        "them at once."
    )


@router.get("/agents")
async def list_agents(service: ServiceDep) -> list[AgentModel]:
    """List the agents that are at work, over all workers, the oldest first."""
    routes = await service.runs.routes()
    return [_agent(routes, r) for r in await service.runs.working()]


@router.get("/agents/{task_id:id}", responses=documented(404))
async def get_agent(task_id: TaskIdDep, service: ServiceDep) -> AgentDetailModel:
    """Read about the agent that works on a task, with its newest events."""
    working = await service.runs.working()
    for run in working:
        if names.task_of(run.tags) == task_id:
            agent = _agent(await service.runs.routes(), run)
            resource = names.task_resource(service.app.name, task_id)
            since = (run.created or agent.started_at) - timedelta(seconds=1)
            events = await newest_events(service.prefect, resource, since, _SHOWN_EVENTS)
            return AgentDetailModel(**agent.model_dump(), events=events)
    busy = [names.task_of(r.tags) or "" for r in working]
    raise Problem(
        404,
        "no-agent",
        f"No agent works on task {task_id!r} now. Agents work on: "
        f"{', '.join(repr(t) for t in busy) or 'nothing'}. "
        "GET /tasks/{id} shows a task's run; GET /agents lists all agents.",
        existing=busy,
    )


def _agent(routes: Routes, run: FlowRun) -> AgentModel:
    known = called(routes, route_name(run))
    limit = None if known is None else known.route.timeout
    timeout = None if limit is None else limit.total_seconds()
    started = run.start_time or run.created or datetime.now(UTC)
    if run.state is not None and run.state_type is StateType.RUNNING:
        started = run.state.timestamp
    return AgentModel(
        task_id=names.task_of(run.tags) or "",
        task_name=run.name,
        route=route_name(run),
        queue_name=queue_of(run),
        state=run.state_name or "",
        started_at=started,
        runtime=max(0.0, (datetime.now(UTC) - started).total_seconds()),
        timeout=timeout,
        attempt=record_of(run).attempt,
        worker=worker_of(run),
        run_id=str(run.id),
        run_url=run_url(run),
    )
