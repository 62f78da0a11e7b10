"""Endpoints of routes: which queues are watched, and what is started for their tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from athanore.api.problems import Problem, documented
from athanore.api.service import ServiceDep
from athanore.dispatcher import AgentDispatcher
from athanore.routes import Route

router = APIRouter(tags=["routes"])


class RouteModel(BaseModel):
    """A route with all its options; durations are seconds."""

    queue_name: str = Field(description="The watched queue.")
    in_progress_queue: str
    agent: str = Field(description="What is started: the command, or the agent adapter.")
    command: str
    args: list[str]
    prompt: str = Field(description="The function that writes the prompt, or the template.")
    source: Literal["code", "api"] = Field(description="Where the route was written.")
    poll_interval: float
    timeout: float | None
    stall_timeout: float | None
    priority: int | None
    rank: int = Field(description="The place in the order in which slots are given, from 1.")
    max_concurrent: int | None
    max_retries: int
    retry_delay: float | None
    retry_backoff: float
    retry_max_delay: float | None
    retry_jitter: float
    max_crashes: int
    dead_letter_queue: str | None
    done_queue: str | None
    on_cancel: str | None
    pause_after_failures: int
    resume_after: float | None = Field(
        description="After how long a route that paused itself tries again; null: by hand only."
    )
    cwd: str | None
    env: list[str] = Field(description="The names of the variables that the route sets.")


@router.get("/routes")
async def list_routes(service: ServiceDep) -> list[RouteModel]:
    """List the routes, in the order of their registration."""
    dispatcher = service.dispatcher
    return [_model(dispatcher, r) for r in dispatcher.routes.values()]


@router.get("/routes/{queue_name:name}", responses=documented(404))
async def get_route(queue_name: str, service: ServiceDep) -> RouteModel:
    """Read one route."""
    dispatcher = service.dispatcher
    route = dispatcher.routes.get(queue_name)
    if route is None:
        raise no_such_route(dispatcher, queue_name)
    return _model(dispatcher, route)


def no_such_route(dispatcher: AgentDispatcher, queue_name: str) -> Problem:
    """Say which routes there are, to somebody who asked for another."""
    existing = list(dispatcher.routes)
    return Problem(
        404, "route-not-found",
        f"No route watches {queue_name!r}. "
        f"Watched are: {', '.join(repr(n) for n in existing) or 'no queues'}.",
        existing=existing,
    )  # fmt: skip


def _model(dispatcher: AgentDispatcher, route: Route) -> RouteModel:
    ranked = [r.queue_name for r in dispatcher.ranked_routes()]
    retry = route.retry
    return RouteModel(
        queue_name=route.queue_name,
        in_progress_queue=route.in_progress_queue,
        agent=route.describe(),
        command=route.command,
        args=list(route.args),
        prompt=getattr(route.prompt, "__qualname__", repr(route.prompt)),
        source="code",
        poll_interval=route.poll_interval.total_seconds(),
        timeout=_seconds(route.timeout),
        stall_timeout=_seconds(route.stall_timeout),
        priority=route.priority,
        rank=ranked.index(route.queue_name) + 1,
        max_concurrent=route.max_concurrent,
        max_retries=retry.max_retries,
        retry_delay=_seconds(retry.delay),
        retry_backoff=retry.backoff,
        retry_max_delay=_seconds(retry.max_delay),
        retry_jitter=retry.jitter,
        max_crashes=retry.max_crashes,
        dead_letter_queue=route.dead_letter_queue,
        done_queue=route.done_queue,
        on_cancel=route.on_cancel,
        pause_after_failures=route.pause_after_failures,
        resume_after=_seconds(route.resume_after),
        cwd=None if route.cwd is None else str(route.cwd),
        env=sorted(route.env),
    )


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()
