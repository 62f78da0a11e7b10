"""Endpoints of routes: which queues are watched, and what is started for their tasks.

Routes can be made and changed while everything runs; `athanore.deployments.live` does it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field, create_model

from athanore.api.models import EmptyRequest
from athanore.api.problems import Problem, documented
from athanore.api.service import ManagedDep, Service, ServiceDep
from athanore.deployments.live import (
    change_route,
    is_made_over_http,
    make_route,
    put_route,
    remove_route,
)
from athanore.models import Queue
from athanore.routing import routes
from athanore.routing.options import QueueName, description_over_http, options_of, shown
from athanore.routing.route_rules import wrong_queues
from athanore.routing.routes import Route
from athanore.routing.schedules import Schedule
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.routes.definitions import PROMPT, Prompt, RouteOptions
from athanore.runtime.routes.ownership import find_route
from athanore.runtime.routes.prompt_template import PromptTemplate
from athanore.runtime.routes.route_registry import KnownRoute, Routes, ranked_routes
from athanore.services import scheduling

router = APIRouter(tags=["routes"])


@asynccontextmanager
async def _changing(service: Service) -> AsyncGenerator[PrefectRunStore]:
    """Change routes, one request at a time: each sets the order of all of them."""
    patience = service.app.margins.route_change
    async with service.changing_routes, service.prefect.client(patience) as client:
        yield client


class RouteRequest(RouteOptions):
    """A route to make."""

    queue_name: QueueName = Field(description="The queue to watch.", examples=["Triage"])
    prompt: Prompt = Field(**PROMPT)  # pyright: ignore[reportIncompatibleVariableOverride]

    def options(self) -> RouteOptions:
        """The options without the queue."""
        return RouteOptions.model_validate(
            self.model_dump(exclude_unset=True, exclude={"queue_name"})
        )


class RouteRemovalModel(BaseModel):
    """What became of a route that is to be no more."""

    name: str
    queue_name: str
    removed: bool = Field(
        description="False while agents of it still work; it goes when they are done."
    )
    note: str


class _RouteModel(BaseModel):
    """A route with all its options; durations are seconds."""

    queue_name: str = Field(description="The watched queue.")
    agent: str = Field(description="What is started: the command, or the agent adapter.")
    prompt: str = Field(description="The function that writes the prompt, or the template.")
    source: Literal["code", "api"] = Field(description="Where the route was written.")
    changed: list[str] = Field(
        description="The options of a route in the code that were changed over HTTP."
    )
    note: str | None = Field(description="What to know of such changes: how long they last.")
    rank: int = Field(description="The place in the order in which slots are given, from 1.")


def shown_options(schema: type) -> type[Any]:
    """The model of a class of options in answers."""
    shown: dict[str, Any] = {}
    for name, option in options_of(schema).items():
        kind: Any = option.kind.shown
        if option.kind.sent is not None:
            kind = kind | None if option.none else kind
            shown[name] = (kind, Field(description=description_over_http(schema, name)))
    return create_model("RouteModel", __base__=_RouteModel, __doc__=_RouteModel.__doc__, **shown)


if TYPE_CHECKING:
    RouteModel = _RouteModel
else:
    RouteModel = shown_options(routes.RouteOptions)


class RoutePauseModel(BaseModel):
    """What of a route is paused."""

    name: str
    queue_name: str
    paused: list[Literal["polls", "agents"]] = Field(
        description="`polls`: its queue is not looked at; `agents`: none is started. Empty: it "
        "is at work."
    )


@router.get("/routes")
async def list_routes(service: ServiceDep) -> list[RouteModel]:
    """List the routes: those of the code in the order of their registration, then the others."""
    routes = await service.runs.routes()
    return [_model(service, routes, k) for k in routes.values()]


@router.post("/routes", status_code=status.HTTP_201_CREATED, responses=documented(404, 409))
async def create_route(body: RouteRequest, service: ManagedDep, response: Response) -> RouteModel:
    """Watch a queue: it is polled at once, by every worker of the app, and after every restart.

    Options that are not sent are the app's. 404: a queue that it names is not on the board. 409:
    there is a route of its name already, another route is in its way or it in that one's (of their
    queues, of the tasks that they take), or its queue is closed on the board. 422: an option is
    wrong, or the prompt names what does not exist.
    """
    options = body.options()
    name = str(options.said().get("name") or body.queue_name)
    _refuse_secrets(service, body)
    # Not in the time that Prefect has for its part.
    queues = await service.board.queues()
    async with _changing(service) as client:
        routes = await service.app.routes.read(client, fresh=True)
        if name in routes or name in service.dispatcher.routes:
            there = routes.get(name)
            hint = (
                "was taken away until the next deploy; deploy the app to bring it back"
                if there is None
                else f"is there (source: {there.source}); PATCH /routes/{{queue_name}} changes it"
            )
            raise Problem(409, "route-exists", f"A route of {name!r} {hint}.")
        await _check_queues(service, queues, body)
        known = make_route(service.app, name, body.queue_name, options)
        await _check_queues(service, queues, known.route)
        await put_route(client, service.app, known)
    response.headers["Location"] = f"/routes/{quote(name, safe='')}"
    return _model(service, {**routes, name: known}, known)


@router.get("/routes/{queue_name:name}", responses=documented(404, 409))
async def get_route(queue_name: str, service: ServiceDep) -> RouteModel:
    """Read one route by its name, or by its queue where no other route watches it.

    409: several do; `existing` names them.
    """
    routes = await service.runs.routes()
    return _model(service, routes, find_route(routes, queue_name))


@router.patch("/routes/{queue_name:name}", responses=documented(404, 409))
async def update_route(queue_name: str, body: RouteOptions, service: ManagedDep) -> RouteModel:
    """Change options of a route; those that are not sent stay as they are.

    Null brings back what the app (or, of a route in the code, the code) says; `timeout: null` means
    no limit. What was said of a route in the code lasts until the next deploy, as `note` says.
    Running agents are left alone; what they come to is seen to as the route says then. 409:
    `in_progress_queue` cannot change while agents of the route are at work, or the route would be
    in the way of another one.
    """
    _refuse_secrets(service, body)
    queues = await service.board.queues()
    async with _changing(service) as client:
        routes = await service.app.routes.read(client, fresh=True)
        known = find_route(routes, queue_name)
        await _check_queues(service, queues, body)
        changed = await change_route(client, service.app, known, body)
    return _model(service, {**routes, changed.route.name: changed}, changed)


@router.delete("/routes/{queue_name:name}", responses=documented(404, 409))
async def delete_route(queue_name: str, service: ManagedDep) -> RouteRemovalModel:
    """Watch a queue no more. Agents at work may finish; waiting ones do not start.

    Their tasks stay in the queue. A route that is written in the code comes back with the next
    deploy, as `note` says.
    """
    async with _changing(service) as client:
        routes = await service.app.routes.read(client, fresh=True)
        name, watched, source = queue_name, queue_name, "api"
        # One whose definition is broken is not among the routes, and no reason to keep it.
        if name in routes or not await is_made_over_http(client, service.app, name):
            known = find_route(routes, name)
            name, watched, source = known.route.name, known.route.queue_name, known.source
        done = await remove_route(client, service.app, name, source)
    service.runs.all_changed()
    if not done and source == "api":
        service.removals.see_to(name)
    note = "" if done else "Agents of it still work and may finish. "
    note += (
        "It is written in the code and comes back with the next deploy (a start of `athanore up` "
        "is one); take it out of the code to be rid of it."
        if source == "code"
        else "Tasks in its queue stay there."
    )
    return RouteRemovalModel(name=name, queue_name=watched, removed=done, note=note)


@router.post("/routes/{queue_name:id}/pause", responses=documented(404, 409))
async def pause_route(queue_name: str, body: EmptyRequest, service: ServiceDep) -> RoutePauseModel:
    """Pause a route: no polls, and no agent starts; running agents are left alone.

    Scheduled work is paused by its name, too: then nothing is created.
    For operators where tokens are required. 409: the route is not deployed.
    """
    if (schedule := service.app.dispatcher.schedules.get(queue_name)) is not None:
        return await _switched(service, schedule, paused=True)
    return _paused(service, *await service.runs.pause(queue_name))


@router.post("/routes/{queue_name:id}/resume", responses=documented(404, 409))
async def resume_route(queue_name: str, body: EmptyRequest, service: ServiceDep) -> RoutePauseModel:
    """Let a paused route go on, whoever paused it; scheduled work too, by its name.

    For operators where tokens are required. 409: the route is not deployed.
    """
    if (schedule := service.app.dispatcher.schedules.get(queue_name)) is not None:
        return await _switched(service, schedule, paused=False)
    return _paused(service, *await service.runs.resume(queue_name))


async def _switched(service: Service, schedule: Schedule, *, paused: bool) -> RoutePauseModel:
    async with service.prefect.client() as client:
        await scheduling.switch(client, service.app, schedule.name, paused=paused)
    return RoutePauseModel(
        name=schedule.name, queue_name=schedule.queue, paused=["polls"] if paused else []
    )


def _paused(service: Service, route: Route, parts: tuple[str, ...]) -> RoutePauseModel:
    service.snapshots.outdated()
    return RoutePauseModel(
        name=route.name,
        queue_name=route.queue_name,
        paused=[p for p in ("polls", "agents") if p in parts],
    )


async def _check_queues(
    service: Service, queues: Sequence[Queue], route: Route | RouteOptions
) -> None:
    """Refuse a route whose queues are not on the board, or will not do."""
    adapter = service.board.adapter
    wrong = await service.board.call(partial(wrong_queues, route, adapter, queues))
    if not wrong:
        return
    existing = [q.name for q in queues]
    errors = [
        {
            "field": f"body.{w.option}",
            "message": f"the board has no queue {w.wanted!r}" if w.why == "missing" else w.says,
        }
        for w in wrong
    ]
    missing = ", ".join(f"{w.wanted!r} ({w.option})" for w in wrong if w.why == "missing")
    if not missing:
        says = " ".join(w.says[:1].upper() + w.says[1:] for w in wrong)
        if all(w.why == "closed" for w in wrong):
            raise Problem(409, "queue-closed", says, errors=errors)
        raise Problem(422, "invalid-route", says, errors=errors)
    raise Problem(
        404,
        "queue-not-found",
        f"The board has no queue {missing}. It has: "
        f"{', '.join(repr(q) for q in existing) or 'none'}. POST /queues creates one.",
        errors=errors,
        existing=existing,
    )


def _refuse_secrets(service: Service, body: BaseModel) -> None:
    """A route is kept in Prefect for all to read, as it is: nothing in it is replaced."""
    text = body.model_dump_json(exclude_unset=True)
    if "\\u0000" in text.replace("\\\\", ""):
        raise Problem(
            422, "invalid-route", "The route contains the character U+0000; leave it out."
        )
    if service.redactor.has_secret(text):
        raise Problem(
            422,
            "secret-in-route",
            "The route contains a secret that Athanore knows (a token, a password of the board). "
            "Routes are kept in Prefect as they are: give secrets to the worker's environment.",
        )


def _model(service: Service, routes: Routes, known: KnownRoute) -> RouteModel:
    order = [k.route.name for k in ranked_routes(routes)]
    route, prompt = known.route, known.route.prompt
    written = (
        prompt.source
        if isinstance(prompt, PromptTemplate)
        else getattr(prompt, "__qualname__", repr(prompt))
    )
    note = None
    if known.changed:
        note = (
            f"The code has this route; the change of {', '.join(known.changed)} lasts until the "
            "next deploy (a start of `athanore up` is one). Change the code to keep it."
        )
    return RouteModel(
        queue_name=route.queue_name,
        agent=route.describe(service.app.dispatcher.default_agent),
        prompt=written,
        source=known.source,
        changed=list(known.changed),
        note=note,
        rank=order.index(route.name) + 1,
        **shown(route),
    )
