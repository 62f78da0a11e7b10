"""Who calls: an agent with the token of its run, an operator with the key, or anybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from time import monotonic
from typing import Annotated
from uuid import UUID

from cachetools import TTLCache
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.api.prefect.agent_runs import queue_of
from athanore.api.prefect.link import PrefectLink
from athanore.api.problems import Problem
from athanore.errors import PrefectUnavailableError, TaskNotFoundError
from athanore.runs.kept import keys
from athanore.runs.kept.keys import Scope
from athanore.runs.records import tokens
from athanore.runs.records.record import record_of, start_at_work
from athanore.runs.store import route_name
from athanore.runtime.apps import App

_STRANGERS_AT_ONCE = 4
_READS = frozenset({"GET", "HEAD"})
_OPERATORS_ONLY = re.compile(r"/tasks/[^/]+/(requeue|approve|reject)")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="athanore"'}


class Role(StrEnum):
    """What a caller is."""

    ANYBODY = "anybody"
    AGENT = "agent"
    PERSON = "person"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    `key_name` and `scope` are those of a person's key. The others are known of agents; `start` is
    the start of the run that the attempt belongs to.
    """

    role: Role
    task_id: str | None = None
    run_id: UUID | None = None
    queue_name: str | None = None
    route: str | None = None
    attempt: int | None = None
    start: int | None = None
    key_name: str = ""
    scope: Scope | None = None


class Gate:
    """Tells who calls, and refuses what a caller may not do.

    Args:
        timer: seconds of a clock that only goes forward.
    """

    def __init__(
        self, app: App, prefect: PrefectLink, timer: Callable[[], float] = monotonic
    ) -> None:
        self._app = app
        self._local_runs = app.local_runs
        self._prefect = prefect
        self._required = app.dispatcher.settings.api_auth == "token"
        self._key = app.dispatcher.settings.signing_key
        # Reads may rely on what was true a moment ago; writes never do, while Prefect answers.
        self._fresh: TTLCache[UUID, FlowRun] = TTLCache(1000, 2, timer)
        # While it does not, the token of an attempt in another process may outlive it so long; of
        # attempts in this process we know ourselves.
        self._known: TTLCache[UUID, FlowRun] = TTLCache(1000, 60, timer)
        # Tokens that somebody made up: they must cost Prefect little, and others not their turn.
        self._unknown: TTLCache[UUID, bool] = TTLCache(1000, 5, timer)
        self._strangers = asyncio.Semaphore(_STRANGERS_AT_ONCE)
        self._keys: TTLCache[str, Caller] = TTLCache(1000, 5, timer)

    async def identify(self, credential: str | None, *, write: bool) -> Caller:
        """Tell who a caller is by the bearer token that it sent.

        Raises:
            Problem: 401, the token is missing or unknown; 409, it belongs to a run that is over.
            PrefectUnavailableError: the token cannot be checked now.
        """
        if credential is not None:
            key = self._app.dispatcher.settings.api_key
            if key is not None and compare_digest(
                credential.encode(), key.get_secret_value().encode()
            ):
                return Caller(Role.OPERATOR)
            if (run_id := tokens.run_of(credential)) is not None:
                caller = await self._agent(credential, run_id, write=write)
                if caller is not None:
                    return caller
        if not self._required:
            return Caller(Role.ANYBODY)
        raise Problem(
            401,
            "token-needed" if credential is None else "token-unknown",
            "Send the header `Authorization: Bearer $ATHANORE_TOKEN`; an agent finds its token in "
            "that variable, an operator uses ATHANORE_API_KEY."
            if credential is None
            else "Keys of `athanore key` open /mcp only, and only until they are revoked."
            if keys.PATTERN.fullmatch(credential)
            else "This token is not known, or its run is over.",
            headers=_CHALLENGE,
        )

    async def identify_client(self, credential: str | None, *, write: bool) -> Caller:
        """Tell who an MCP client works for; see `identify`. Here people's keys count, too.

        A key that is revoked is known for 5 s more.
        """
        if self._key is None or not self._required or credential is None:
            return await self.identify(credential, write=write)
        if (caller := self._keys.get(credential)) is not None:
            return caller
        if keys.PATTERN.fullmatch(credential):
            async with self._strangers, self._prefect.client() as client:
                key = await keys.find(client, self._app.name, credential, self._key)
            if key is not None:
                caller = Caller(Role.PERSON, key_name=key.name, scope=key.scope)
                self._keys[credential] = caller
                return caller
        return await self.identify(credential, write=write)

    async def _agent(self, token: str, run_id: UUID, *, write: bool) -> Caller | None:
        """The agent that a token belongs to; None for a read with a token that is worth nothing."""
        run = await self._run(run_id, fresh=write)
        task_id = None if run is None else names.task_of(run.tags)
        record = None if run is None else record_of(run)
        start = record and tokens.start_of(token, record.tokens, task_id, self._key)
        if run is None or record is None or start is None:
            if not write:
                return None
            raise Problem(
                401,
                "token-unknown",
                "No agent run has this token. If a worker of this app has given it to you, the "
                "worker and this API do not have the same ATHANORE_API_KEY.",
                headers=_CHALLENGE,
            )
        if not self._is_alive(run) or start != start_at_work(run):
            if not write:
                return None
            raise Problem(
                409,
                "run-ended",
                f"The run of this token has ended or is being stopped ({run.state_name}); it may "
                "not change anything any more. Stop working.",
            )
        return Caller(
            Role.AGENT, task_id, run_id, queue_of(run), route_name(run), record.attempt, start
        )

    def _is_alive(self, run: FlowRun) -> bool:
        """Tell whether the agent of a run is at work, as far as Prefect and this process know."""
        if run.state_type is not StateType.RUNNING:
            return False
        if (here := self._local_runs.control_of(run.id)) is not None:
            return here.is_heard
        # Held and no longer registered: the attempt has ended, and Prefect is being told.
        return not self._local_runs.is_held(run.id)

    async def _run(self, run_id: UUID, *, fresh: bool) -> FlowRun | None:
        if not fresh and (run := self._fresh.get(run_id)) is not None:
            return run
        ours = self._local_runs.is_held(run_id) or self._local_runs.is_running(run_id)
        try:
            run = await self._read(run_id)
        except PrefectUnavailableError:
            # What was known last is the best there is: an agent must be able to finish its work
            # while Prefect is away.
            here = self._local_runs.control_of(run_id)
            if here is not None and here.run is not None:
                return here.run
            if (known := self._known.get(run_id)) is not None:
                return known
            if not fresh and not self._required:
                return None  # anybody may read
            raise
        if run is None or names.app_tag(self._app.name) not in run.tags:
            return None
        if not ours:
            self._known[run_id] = run
        self._fresh[run_id] = run
        return run

    async def _read(self, run_id: UUID) -> FlowRun | None:
        """Read a run; None if there is none. Ids that were never seen take turns."""
        if self._known.get(run_id) is not None or self._local_runs.is_running(run_id):
            return await self._ask(run_id)
        async with self._strangers:
            if self._unknown.get(run_id):
                return None
            run = await self._ask(run_id)
            if run is None:
                self._unknown[run_id] = True
            return run

    async def _ask(self, run_id: UUID) -> FlowRun | None:
        try:
            async with self._prefect.client() as client:
                return await client.read_flow_run(run_id)
        except ObjectNotFound:
            return None

    async def check_write(self, caller: Caller, path: str, task_id: str | None) -> None:
        """Refuse what an agent may not change, where tokens are required.

        Raises:
            Problem: 403, with what it may do.
        """
        if path == "/tasks":
            return
        await self.check_task(caller, None if _OPERATORS_ONLY.fullmatch(path) else task_id)

    async def check_task(self, caller: Caller, task_id: str | None) -> None:
        """Refuse an agent that would change another task than its own, or what is none.

        Args:
            task_id: the task by its id, or by what people call it.

        Raises:
            Problem: 403, with what it may do.
        """
        if not self._required or caller.role is not Role.AGENT:
            return
        if task_id is not None and await self._is_of(caller, task_id):
            return
        raise Problem(
            403,
            "not-your-task",
            f"Your token is for task {caller.task_id!r}: you may change that one and create new "
            "ones, and read everything.",
        )

    async def _is_of(self, caller: Caller, task_id: str) -> bool:
        """Tell whether a task is the caller's; one that the board does not know is not."""
        if task_id == caller.task_id:
            return True
        try:
            return await self._app.board.id_of(task_id) == caller.task_id
        except TaskNotFoundError:
            return False


_bearer = HTTPBearer(
    scheme_name="token",
    description="`ATHANORE_TOKEN` of an agent's environment, or the operators' `ATHANORE_API_KEY`. "
    'Needed only where the API runs with `api_auth="token"`.',
    auto_error=False,
)


def credential_of(request: Request) -> str | None:
    """The bearer token that a request carries."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


async def authenticate(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Identify the caller of an endpoint and check what it may do."""
    gate = request.app.state.service.gate
    assert isinstance(gate, Gate)
    write = request.method not in _READS
    if write and request.method != "DELETE":
        check_content_type(request)
    caller = await known_caller(request, write=write)
    if write:
        await gate.check_write(caller, request.scope["path"], request.path_params.get("task_id"))
    return caller


async def known_caller(request: Request, *, write: bool, by_mcp: bool = False) -> Caller:
    """Identify who sends a request, as `Gate.identify` does; an agent that calls is not stalled.

    Args:
        by_mcp: an MCP client sends it; see `Gate.identify_client`.
    """
    service = request.app.state.service
    identify = service.gate.identify_client if by_mcp else service.gate.identify
    caller = await identify(credential_of(request), write=write)
    if caller.task_id is not None and caller.run_id is not None:
        routes = service.app.routes.remembered()
        service.activity.note(routes, caller.route or "", caller.run_id, caller.task_id)
    return caller


def check_content_type(request: Request) -> None:
    """A web page cannot send JSON to another site without asking first, so JSON is demanded."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(
            415,
            "not-json",
            "Send JSON with the header `Content-Type: application/json` "
            f"(yours is {media_type or 'missing'!r}).",
        )


type CallerDep = Annotated[Caller, Depends(authenticate)]
