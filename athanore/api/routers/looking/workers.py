"""Endpoints of workers: who there is, and emptying one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from athanore.api.models import EmptyRequest, Words
from athanore.api.problems import documented
from athanore.api.security.auth import CallerDep, Role
from athanore.api.service import ServiceDep
from athanore.services import fleet
from athanore.services.showing.views import WorkerView

router = APIRouter(tags=["workers"])

type WorkerName = Annotated[
    str, Path(description="A worker's name, the beginning of it, or a host for all workers there.")
]


class DrainRequest(BaseModel):
    """How to empty a worker."""

    model_config = ConfigDict(extra="forbid")

    then_exit: bool = Field(False, description="It ends when it has no agent any more.")
    by: Words = Field(
        "", max_length=100, description="Who asks for it. By default what the token says."
    )


class WorkerModel(BaseModel):
    """A worker of agents."""

    name: str
    host: str = Field(description="Its host's name; empty if it has not said so.")
    labels: list[str] = Field(description="What kind of host it is on.")
    agents: int = Field(description="How many agents it has.")
    limit: int | None = Field(description="How many it takes; null for no limit of its own.")
    version: str = Field(description="Of the app's code that it has.")
    started_at: datetime | None
    last_seen: datetime | None = Field(description="Its last heartbeat.")
    clock_offset: float = Field(description="Seconds that its clock is ahead of Prefect's.")
    state: Literal["ready", "full", "draining", "drained", "lost"]
    says: str = Field(description="Why, in words; empty where there is nothing to say.")

    @classmethod
    def of(cls, view: WorkerView) -> Self:
        """The model of what is known of a worker."""
        return cls.model_validate(view, from_attributes=True)


class DrainedModel(BaseModel):
    """Which workers were meant."""

    workers: list[str]


@router.get("/workers")
async def list_workers(service: ServiceDep) -> list[WorkerModel]:
    """List the workers of agents by name, also those that went without a word."""
    async with service.prefect.client() as client:
        return [WorkerModel.of(w) for w in await fleet.workers(client, service.app)]


@router.post("/workers/{name:id}/drain", responses=documented(404))
async def drain_worker(
    name: WorkerName, body: DrainRequest, service: ServiceDep, caller: CallerDep
) -> DrainedModel:
    """Have a worker take nothing new, within some seconds; its agents work on.

    For operators where tokens are required. 404: none that lives is called so, or several are.
    """
    async with service.prefect.client() as client:
        by = body.by.strip() or ("an operator" if caller.role is Role.OPERATOR else "the task API")
        found = await fleet.drain(client, service.app, name, by, then_exit=body.then_exit)
    return DrainedModel(workers=found)


@router.post("/workers/{name:id}/resume", responses=documented(404))
async def resume_worker(name: WorkerName, body: EmptyRequest, service: ServiceDep) -> DrainedModel:
    """Let a drained worker take runs again.

    For operators where tokens are required. 404: none that lives is called so, or several are.
    """
    async with service.prefect.client() as client:
        return DrainedModel(workers=await fleet.resume(client, service.app, name))
