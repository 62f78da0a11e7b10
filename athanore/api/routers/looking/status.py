"""The endpoint that says how the server is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from prefect.client.schemas.responses import DeploymentResponse
from pydantic import BaseModel, Field

from athanore.api.models import NeedsPersonModel, ProviderLimitModel
from athanore.api.monitoring.finished import Finished
from athanore.api.prefect.agent_runs import prefect_ui
from athanore.api.routers.looking.workers import WorkerModel
from athanore.api.service import ServiceDep
from athanore.errors import BoardError, PrefectUnavailableError
from athanore.runtime.routes.route_registry import Routes
from athanore.services import fleet
from athanore.services.showing.views import NeedsPerson
from athanore.services.status.costs import total
from athanore.services.status.machinery import Machinery
from athanore.services.status.next_polls import next_poll
from athanore.version import __version__

router = APIRouter(tags=["status"])


class CapacityModel(BaseModel):
    """How many agents may work at once, and how many do."""

    max_concurrent_agents: int
    active_agents: int | None = Field(description="Null while Prefect does not answer.")
    slots_free: int | None = Field(description="Null while Prefect does not answer.")


class RouteTimingModel(BaseModel):
    """When the queue of a route is looked at."""

    name: str = Field(description="The route's.")
    queue_name: str
    poll_interval: float = Field(description="Seconds.")
    next_poll: datetime | None = Field(
        default=None, description="Null while the route is paused or Prefect does not answer."
    )


class PausedRouteModel(BaseModel):
    """A route that is paused, as a whole or in part."""

    name: str = Field(description="The route's.")
    queue_name: str
    paused: list[Literal["polls", "agents"]] = Field(description="Which of its parts are paused.")
    reason: str | None = Field(
        description="Why it paused itself, and when it tries again; null if a person paused it."
    )


class TimingModel(BaseModel):
    """Since when the server runs, and when it looks at the queues."""

    started_at: datetime
    uptime: float = Field(description="Seconds.")
    poll_interval: float = Field(description="Seconds; the default of the routes.")
    routes: list[RouteTimingModel]


class PrefectModel(BaseModel):
    """The Prefect server."""

    reachable: bool
    ui_url: str | None


class UsageModel(BaseModel):
    """What the agents of the last 24 hours used, as far as their adapters know."""

    runs: int = Field(description="How many agent runs ended.")
    cost_usd: float | None = Field(description="As far as it is known; null if nothing is.")
    estimated_usd: float = Field(description="How much of that was estimated from tokens.")
    unmeasured: int = Field(description="Of how many attempts nobody knows the cost.")
    input_tokens: int
    output_tokens: int


class QuotaModel(BaseModel):
    """How much the board's server lets the account ask."""

    name: str = Field(description="What is counted: `core`, `requests`, `complexity`.")
    limit: int
    remaining: int
    resets_at: datetime


class StatusModel(BaseModel):
    """How the server is."""

    app: str
    healthy: bool = Field(
        description="False while Prefect does not answer: no agent is started meanwhile."
    )
    version: str
    api_url: str
    active_agents: int | None = Field(description="Null while Prefect does not answer.")
    capacity: CapacityModel
    timing: TimingModel
    prefect: PrefectModel
    workers: list[WorkerModel] | None = Field(
        description="As `GET /workers` has them; null while Prefect does not answer."
    )
    paused_routes: list[PausedRouteModel] | None = Field(
        description="Null while Prefect does not answer."
    )
    last_day: UsageModel | None = Field(description="Null while Prefect does not answer.")
    board_quotas: list[QuotaModel] = Field(
        description="What the board told this process last of its account's quotas; empty if "
        "nothing, or where it does not count requests."
    )
    provider_limits: list[ProviderLimitModel] | None = Field(
        description="Usage limits of the agents' accounts that are reached or near; null while "
        "Prefect does not answer."
    )
    needs_person: list[NeedsPersonModel] | None = Field(
        description="What no agent and no poll puts right by itself; null while Prefect or the "
        "board does not answer."
    )


@router.get("/status")
async def get_status(service: ServiceDep) -> StatusModel:
    """Tell capacity, timing, running agents, and where Prefect is."""
    limit = service.dispatcher.settings.max_concurrent_agents
    active: int | None = None
    machinery: Machinery | None = None
    usage: UsageModel | None = None
    matters: list[NeedsPerson] | None = None
    workers: list[WorkerModel] | None = None
    routes = service.app.routes.in_code()
    try:
        routes = await service.runs.routes()
        active = len(await service.runs.working())
        machinery = await service.runs.machinery()
        async with service.prefect.client() as client:
            there = await fleet.workers(client, service.app)
        workers = [WorkerModel.of(worker) for worker in there]
        usage = _usage(await service.finished.last_day())
        matters = await service.attention.read()
    except (PrefectUnavailableError, BoardError):
        pass
    polls: Mapping[str, DeploymentResponse] = {} if machinery is None else machinery.deployed
    return StatusModel(
        app=service.app.name,
        healthy=usage is not None,
        version=__version__,
        api_url=service.app.api_url,
        active_agents=active,
        capacity=CapacityModel(
            max_concurrent_agents=limit,
            active_agents=active,
            slots_free=None if active is None else max(0, limit - active),
        ),
        timing=TimingModel(
            started_at=service.started_at,
            uptime=(datetime.now(UTC) - service.started_at).total_seconds(),
            poll_interval=service.dispatcher.settings.poll_interval,
            routes=[
                RouteTimingModel(
                    name=r.name,
                    queue_name=r.queue_name,
                    poll_interval=r.poll_interval.total_seconds(),
                    next_poll=next_poll(polls[r.name]) if r.name in polls else None,
                )
                for r in (k.route for k in routes.values())
            ],
        ),
        prefect=PrefectModel(reachable=active is not None, ui_url=prefect_ui()),
        workers=workers,
        paused_routes=None if machinery is None else _paused(machinery, routes),
        last_day=usage,
        board_quotas=[
            QuotaModel(name=q.name, limit=q.limit, remaining=q.remaining, resets_at=q.resets_at)
            for q in service.board.quotas()
        ],
        provider_limits=None
        if machinery is None
        else [ProviderLimitModel.of(x) for x in machinery.provider_limits],
        needs_person=None if matters is None else [NeedsPersonModel.of(m) for m in matters],
    )


def _paused(machinery: Machinery, routes: Routes) -> list[PausedRouteModel]:
    return [
        PausedRouteModel(
            name=name,
            queue_name=known.route.queue_name,
            paused=[part for part in ("polls", "agents") if part in machinery.paused[name]],
            reason=machinery.pause_reasons.get(name),
        )
        for name, known in routes.items()
        if machinery.paused.get(name)
    ]


def _usage(finished: list[Finished]) -> UsageModel:
    spent = total("last day", (a for run in finished for a in run.attempts))
    return UsageModel(
        runs=len(finished),
        cost_usd=spent.cost_usd if spent.attempts else 0.0,
        estimated_usd=spent.estimated_usd,
        unmeasured=spent.unmeasured,
        input_tokens=spent.input_tokens or 0,
        output_tokens=spent.output_tokens or 0,
    )
