"""The endpoint that has the app take its changed code over."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from athanore.api.models import EmptyRequest
from athanore.api.problems import Problem, documented
from athanore.api.security.auth import CallerDep, Role
from athanore.api.service import ServiceDep
from athanore.errors import ConfigurationError

router = APIRouter(tags=["status"])


class ReloadedModel(BaseModel):
    """What taking the code over has changed."""

    version: str = Field(description="The version of the app's code from now on.")
    changes: list[str] = Field(description="A line for each thing that is different.")


@router.post("/reload", responses=documented(409))
async def reload_code(body: EmptyRequest, service: ServiceDep, caller: CallerDep) -> ReloadedModel:
    """Take the app's changed code over, without stopping agents.

    For operators, and only where tokens are required: what is in the file gets the worker's rights.
    409: the code cannot be taken over, and the app goes on with what it has; or this process has
    no worker.
    """
    if service.dispatcher.settings.api_auth == "open":
        raise Problem(
            403,
            "reload-is-open",
            "The task API asks for no tokens, so an agent could have its own changes of the code "
            "taken over. Press r in the terminal of the app, or start it with "
            "ATHANORE_API_AUTH=token and an ATHANORE_API_KEY.",
        )
    if caller.role is not Role.OPERATOR:
        raise Problem(403, "not-an-operator", "Only the operators' key has code taken over.")
    if service.app.reload is None:
        raise Problem(
            409,
            "no-reload",
            "This process only serves the task API; start the parts of the app anew instead.",
        )
    try:
        changes = await service.app.reload()
    except ConfigurationError as exc:
        raise Problem(409, "code-not-taken-over", str(exc)) from exc
    service.snapshots.outdated()
    return ReloadedModel(version=service.app.version, changes=changes)
