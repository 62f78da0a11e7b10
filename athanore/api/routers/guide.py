"""`GET /`: the board for a browser, and for anything else a short guide that an agent acts on."""

from __future__ import annotations

import shlex
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from athanore.api.problems import Problem
from athanore.api.security.auth import Caller, Role, credential_of
from athanore.api.service import Service, ServiceDep
from athanore.errors import PrefectUnavailableError

router = APIRouter(tags=["guide"])


@router.get(
    "/",
    response_class=Response,
    responses={
        200: {
            "description": "The guide; the board page for a browser.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "text/html": {"schema": {"type": "string"}},
            },
        }
    },
)
async def guide(request: Request, service: ServiceDep) -> Response:
    """Explain the API in plain text; a caller that asks for HTML, as browsers do, gets the board.

    The page holds no data: it reads them from `GET /board`, with a token where one is required.
    """
    headers = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", ""):
        return service.pages.board()
    caller = await _caller(request, service)
    return PlainTextResponse(_text(service, caller), headers=headers)


async def _caller(request: Request, service: Service) -> Caller:
    try:
        return await service.gate.identify(credential_of(request), write=False)
    except (Problem, PrefectUnavailableError):
        return Caller(Role.ANYBODY)


def _who(caller: Caller) -> str:
    if caller.role is Role.AGENT:
        return (
            f"You are the agent at work on task {caller.task_id!r}, which was taken from "
            f"{caller.queue_name!r}; this is attempt {caller.attempt}."
        )
    if caller.role is Role.OPERATOR:
        return "You are an operator: you may change everything."
    return "Who you are is not known: send `Authorization: Bearer $ATHANORE_TOKEN` if you have one."


def _text(service: Service, caller: Caller) -> str:
    url = service.app.api_url
    auth = '-H "Authorization: Bearer $ATHANORE_TOKEN" '
    # curl repeats what is answered with a 503, which says that nothing was changed.
    curl = f"curl -sS --retry 6 {auth}"
    json = f"{curl}-H 'Content-Type: application/json'"
    task = f"{url}/tasks/{quote(caller.task_id or '', safe='') or '$ATHANORE_TASK_ID'}"
    named = shlex.quote(task) if caller.task_id else f'"{task}"'

    def at(path: str) -> str:
        return f"{named[:-1]}{path}{named[-1]}" if named[-1] in "'\"" else named + path

    return f"""Athanore task API of the app {service.app.name!r}.
{_who(caller)}

Read your task (description, comments, checklist):
  {curl}{named}
Say what you did or what you need:
  {json} {at("/comments")} -d '{{"comment": "..."}}'
Say how far you are, if you know (people see it live; it is no comment):
  {json} {at("/progress")} -d '{{"percent": 40, "text": "Running the tests"}}'
Hand in a result, only if your instructions ask for one:
  {json} {at("/result")} -d '{{"result": {{}}}}'
Hand it on when you are done, by moving it to another queue:
  {json} {at("/move")} -d '{{"target_queue": "Done"}}'
See which queues there are:
  {curl}{url}/queues
Change its name, description, labels or assignees (only what you send):
  {json} -X PATCH {named} -d '{{"labels": ["bug"]}}'
Create another task:
  {json} {url}/tasks -d '{{"queue_name": "Todo", "name": "...", "description": "..."}}'

Percent-encode ids and names in paths (a slash is %2F). Errors are JSON; `detail` says what to do.
Send `Idempotency-Key: <anything new>` with a comment to be safe to repeat it.
All calls: {url}/docs (for people), {url}/openapi.json (for programs).
"""
