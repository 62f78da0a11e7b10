"""The FastAPI application, put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI
from starlette.routing import Route

from athanore.api import problems
from athanore.api.document import describe
from athanore.api.head import HeadAsGet
from athanore.api.mcp_endpoint import PATH, make_mcp
from athanore.api.monitoring.instruments import Measured
from athanore.api.page import page
from athanore.api.page.calls import calls_page
from athanore.api.routers import (
    agents,
    events,
    guide,
    questions,
    queues,
    reload,
    routes,
    tasks,
    webhooks,
)
from athanore.api.routers.looking import board, costs, metrics, overview, status, workers
from athanore.api.security.auth import authenticate
from athanore.api.security.binding import check_binding
from athanore.api.security.guard import Guard
from athanore.api.security.paths import RawPaths
from athanore.api.security.redaction import Redaction
from athanore.api.service import Service
from athanore.http_client.hosts import HostPolicy
from athanore.runtime.apps import App
from athanore.version import __version__


def create_api(app: App) -> FastAPI:
    """Make the API of an app; its lifespan holds the connection to Prefect.

    Raises:
        ConfigurationError: the app's settings would open the API to other machines.
    """
    settings = app.dispatcher.settings
    check_binding(settings, settings.api_host)
    service = Service(app)
    mcp = make_mcp(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with service.running(), mcp.running():
            yield

    api = FastAPI(
        title="Athanore task API",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's page loads scripts of another host, in our origin
        redoc_url=None,
    )
    api.state.service = service
    api.openapi = partial(describe, api)
    api.state.endpoints = [*api.routes, *guide.router.routes]
    problems.install(api)
    looks = (status, overview, costs, metrics, agents, events, board)
    for module in (*looks, tasks, questions, queues, routes, workers, reload):
        api.include_router(module.router, dependencies=[Depends(authenticate)])
        api.state.endpoints += module.router.routes
    # A webhook has a token of its own.
    api.include_router(webhooks.router)
    api.state.endpoints += webhooks.router.routes
    api.include_router(guide.router)
    api.add_route(
        "/docs", lambda _: calls_page(api, service.pages), methods=["GET"], include_in_schema=False
    )
    for path in (PATH, f"{PATH}/"):
        api.router.routes.append(Route(path, mcp, include_in_schema=False))
    api.mount("/static", page.PageFiles())
    api.add_middleware(Measured, metrics=service.metrics)
    # The last one added is the first that sees a request.
    api.add_middleware(RawPaths)
    api.add_middleware(HeadAsGet)
    api.add_middleware(Redaction, redactor=service.redactor)
    api.add_middleware(Guard, hosts=HostPolicy(settings.api_host, app.api_url))
    return api
