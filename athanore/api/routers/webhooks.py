"""What a board tells by itself: a change there has the queues that it concerns polled at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from athanore import names
from athanore.api.problems import Problem, documented
from athanore.api.security.auth import credential_of
from athanore.api.service import Service, ServiceDep
from athanore.errors import WebhookRefusedError
from athanore.forges import Heard, HearsOfPulls
from athanore.queue_adapters.base import SupportsSignedWebhook, SupportsWebhook
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.routes.ownership import watched, watching
from athanore.runtime.routes.route_registry import Routes
from athanore.services.pull_requests import reactions
from athanore.services.wakeups import poll_soon

router = APIRouter(tags=["webhooks"])

# A burst of changes makes one poll, at the end of the second.
_WINDOW = timedelta(seconds=1)


class WebhookAnswer(BaseModel):
    """What a webhook has led to."""

    polled: list[str] = Field(description="The watched queues that are polled at once.")
    looked: bool = Field(
        default=False, description="Whether pull requests of the app are looked at, at once."
    )


_bearer = HTTPBearer(
    scheme_name="webhook", description="`ATHANORE_WEBHOOK_TOKEN`.", auto_error=False
)


def _secret(service: Service) -> str:
    secret = service.dispatcher.settings.webhook_token
    if secret is None:
        raise Problem(
            404,
            "webhooks-off",
            "Webhooks are off: the app was started without "
            "ATHANORE_WEBHOOK_TOKEN, the token that the board is to send.",
        )
    return secret.get_secret_value()


def _authenticate(
    request: Request,
    service: ServiceDep,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    secret = _secret(service)
    credential = credential_of(request) or ""
    if not compare_digest(credential.encode(), secret.encode()):
        raise Problem(
            401,
            "token-unknown",
            "The webhook must send ATHANORE_WEBHOOK_TOKEN as bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="athanore"'},
        )


@router.post(
    "/webhooks/planka",
    status_code=202,
    dependencies=[Depends(_authenticate)],
    responses=documented(404),
)
async def planka(
    payload: Annotated[dict[str, Any], Body(description="What Planka sends.")],
    service: ServiceDep,
) -> WebhookAnswer:
    """Take an event of Planka's webhook, and poll the watched queues that it concerns.

    Our own changes concern none. A paused route stays paused.
    """
    adapter = service.board.adapter
    if not isinstance(adapter, SupportsWebhook):
        raise Problem(404, "no-webhooks", "The board of this app is not a Planka board.")
    routes = await service.runs.routes()
    affected = await service.board.call(partial(adapter.affected_queues, payload, watched(routes)))
    await service.board.told_of_change()
    return await _poll(service, routes, affected)


@router.post("/webhooks/{backend}", status_code=202, responses=documented(401, 404))
async def signed(
    backend: Annotated[
        str, Path(description="The kind of the board, such as `github` or `gitlab`.")
    ],
    request: Request,
    service: ServiceDep,
) -> WebhookAnswer:
    """Take a delivery of the board's webhook, or of the forge's.

    The watched queues that it concerns are polled, and the pull requests that it is about are
    looked at (`reactions`, `merged_queue`). It must be signed with `ATHANORE_WEBHOOK_TOKEN`, or
    carry it, as the board or the forge does that. One that comes again, and our own changes,
    concern none.
    """
    secret = _secret(service)
    adapter = service.board.adapter
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = await request.body()
    forges = [
        forge
        for forge in service.dispatcher.forges
        if isinstance(forge, HearsOfPulls) and forge.webhook == backend
    ]
    for forge in forges:
        if (heard := forge.heard(headers, body, secret)) is not None:
            service.beside.start(_look(service, heard))
            return WebhookAnswer(polled=[], looked=True)
    if not isinstance(adapter, SupportsSignedWebhook):
        if forges:
            return WebhookAnswer(polled=[])
        raise Problem(404, "no-webhooks", f"The board of this app has no webhooks of {backend!r}.")
    routes = await service.runs.routes()
    try:
        affected = await service.board.call(
            partial(adapter.queues_of_delivery, headers, body, secret, watched(routes))
        )
    except WebhookRefusedError:
        if forges:  # it is the forge's, and the board is at another place
            return WebhookAnswer(polled=[])
        raise
    await service.board.told_of_change()
    return await _poll(service, routes, affected)


async def _look(service: Service, heard: Heard) -> None:
    """Look at pull requests, beside the answer: a forge waits for that no longer than seconds."""
    async with service.prefect.client() as client:
        await reactions.look(client, service.app, heard)


async def _poll(service: Service, routes: Routes, affected: list[str]) -> WebhookAnswer:
    """Have the routes polled that watch these queues, and those of which that has failed before.

    The board has counted the delivery: its own repetition of one that failed concerns no queue.
    """
    owed = service.app.noted.owed_polls
    affected = list(dict.fromkeys([*affected, *owed]))
    if not affected:
        return WebhookAnswer(polled=[])
    owed.update(affected)
    window = int(service.app.clock.now().timestamp() // _WINDOW.total_seconds()) + 1
    at = datetime.fromtimestamp(0, UTC) + window * _WINDOW
    async with service.prefect.client() as client:
        app = service.app.name
        polled = [
            queue_name
            for queue_name in affected
            if any(
                [
                    await _poll_soon(client, app, known.route.name, at)
                    for known in watching(routes, queue_name)
                ]
            )
        ]
    owed.difference_update(affected)
    return WebhookAnswer(polled=polled)


async def _poll_soon(client: PrefectRunStore, app: str, route: str, at: datetime) -> bool:
    """Create a poll run of a route; False if the route is paused, or not deployed.

    The worker may be another process, which has read the board before the change.
    """
    return await poll_soon(
        client,
        app,
        route,
        change=f"webhook/{at.timestamp():.0f}",
        at=at,
        name=names.WEBHOOK_POLL,
        newer_than=at,
    )
