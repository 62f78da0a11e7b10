"""What an app needs, looked at from outside: each part with what is wrong and how to mend it.

Nothing is started, made or changed.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import httpx

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.errors import AthanoreError, BoardError, ConfigurationError, reason
from athanore.http_client.addresses import address_of, without_login
from athanore.http_client.hosts import is_loopback
from athanore.launch.inspection.agent_files import files_with_keys
from athanore.launch.inspection.agents import agent_findings, workspace_findings
from athanore.launch.inspection.checks import board_place, look_at_board
from athanore.launch.inspection.findings import Finding, Level, failed
from athanore.launch.inspection.mcp_extra import mcp_findings
from athanore.launch.prefect import prefect_access
from athanore.launch.prefect.prefect_access import FOREIGN_HOST, is_open
from athanore.launch.prefect.prefect_probe import tell, trouble_at
from athanore.launch.prefect.prefect_server import check_port, prefect_errors
from athanore.queue_adapters.base import QueueAdapter, SupportsProblems
from athanore.queue_adapters.quota import HasQuotas
from athanore.version import __version__

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore

_PATIENCE = 10.0
_SHOWN = 10
_SHORTEST_KEY = 16
_TESTED_PREFECT = ("3.8", "3.9")


async def examine(reference: str, load: Callable[[str], AgentDispatcher]) -> list[Finding]:
    """Look at everything that an app needs.

    Args:
        reference: the app, as `run.py:dispatcher`.
        load: imports it; what it raises is a finding.
    """
    found = [_python()]
    dispatcher: AgentDispatcher | None = None
    try:
        dispatcher = await asyncio.to_thread(load, reference)
        found += [app_finding(reference, dispatcher)]
        found += await asyncio.to_thread(
            lambda: [board_finding(dispatcher), *agent_findings(dispatcher)]
        )
        found += await workspace_findings(dispatcher)
        found += [await _api(dispatcher), security(dispatcher), *_keys(dispatcher)]
        found += await mcp_findings(dispatcher)
    except AthanoreError as exc:
        found.append(failed("app", exc))
    return [*found, _home(), *await _prefect(reference, dispatcher)]


def _python() -> Finding:
    return Finding("Python", Level.OK, f"{platform.python_version()}, with Athanore {__version__}")


def app_finding(reference: str, dispatcher: AgentDispatcher) -> Finding:
    """Say which routes an app has."""
    count = len(dispatcher.routes)
    if not count and not dispatcher.settings.enable_queue_management:
        return Finding(
            "app",
            Level.FAIL,
            f"{reference} has no routes.",
            'Decorate a prompt function with @dispatcher.route("Todo").',
        )
    listed = ", ".join(map(repr, dispatcher.routes)) or "its routes are made over HTTP"
    return Finding("app", Level.OK, f"{reference}: {listed}")


def board_finding(dispatcher: AgentDispatcher) -> Finding:
    """Look at an app's board, and at the queues that its routes name."""
    try:
        board = dispatcher.board
        where = board_place(board)
        if (queues := look_at_board(dispatcher)) is None:
            return Finding("board", Level.OK, f"{where} is made at the first start")
    except AthanoreError as exc:
        return failed("board", exc)
    except Exception as exc:
        return Finding(
            "board",
            Level.FAIL,
            f"{type(exc).__name__}: {exc}",
            "The adapter raises what is no error of athanore.errors; see docs/adapters.md.",
        )
    tasks = sum(q.task_count for q in queues)
    says = f"{where}: {len(queues)} queues, {tasks} tasks{_left(board)}"
    if isinstance(board, SupportsProblems) and (problems := board.problems()):
        listed = "; ".join(problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        says = f"{says}, of which some cannot be read: {listed}{more}."
        return Finding("board", Level.WARN, says, "Mend them on the board; they are skipped.")
    return Finding("board", Level.OK, says)


def _left(board: QueueAdapter) -> str:
    """What is left of the requests that the board's server allows."""
    quotas = board.quotas() if isinstance(board, HasQuotas) else ()
    listed = [
        f"{q.remaining} of {q.limit} ({q.name}) until {q.resets_at.astimezone():%H:%M}"
        for q in quotas
    ]
    return f"; left to ask: {', '.join(listed)}" if listed else ""


async def _api(dispatcher: AgentDispatcher) -> Finding:
    host, port = dispatcher.settings.api_host, dispatcher.settings.api_port
    from athanore.launch.port_holder import app_at, taken
    from athanore.launch.sockets import listen

    try:
        listen(host, port).close()
    except ConfigurationError as exc:
        if await app_at(host, port) == dispatcher.name:
            return Finding("task API", Level.OK, f"runs at {address_of(host, port)}")
        return failed("task API", await taken(exc, dispatcher.name, host, port))
    return Finding("task API", Level.OK, f"port {port or 'of its choice'} on {host} is free")


def security(dispatcher: AgentDispatcher) -> Finding:
    """Say who may call the task API."""
    from athanore.api.security.binding import check_binding

    settings = dispatcher.settings
    try:
        check_binding(settings, settings.api_host)
        prefect_access.check_tokens(dispatcher)
    except ConfigurationError as exc:
        return failed("API access", exc)
    if len(settings.signing_key or b"") in range(1, _SHORTEST_KEY):
        says = f"ATHANORE_API_KEY has fewer than {_SHORTEST_KEY} characters and can be guessed."
        return Finding("API access", Level.WARN, says, "Take one of `openssl rand -hex 32`.")
    if settings.api_auth == "token":
        return Finding("API access", Level.OK, "every caller needs a token")
    assert is_loopback(settings.api_host)
    return Finding("API access", Level.OK, "open to every program on this machine, and to no other")


def _keys(dispatcher: AgentDispatcher) -> list[Finding]:
    if not (paths := files_with_keys(dispatcher)):
        return []
    says = f"A key of the task API is in {', '.join(map(str, paths))}, where agents can read it."
    mend = "Name a variable there instead, as docs/mcp.md says, and revoke the key."
    return [Finding("keys", Level.WARN, says, mend)]


def _home() -> Finding:
    from prefect.settings import get_current_settings

    home = get_current_settings().home
    place = next(p for p in (home, *home.parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding(
            "PREFECT_HOME",
            Level.FAIL,
            f"{home} cannot be written.",
            "Set PREFECT_HOME to a folder of your own.",
        )
    return Finding("PREFECT_HOME", Level.OK, str(home))


def judge_prefect(installed: str) -> Finding | None:
    """Say that a version of Prefect is not one that Athanore is tested with, if it is not."""
    if installed.startswith(tuple(f"{tested}." for tested in _TESTED_PREFECT)):
        return None
    return Finding(
        "Prefect",
        Level.FAIL,
        f"version {installed} is installed; Athanore is tested with "
        f"{' and '.join(_TESTED_PREFECT)}.",
        "Install Athanore anew: it asks for a Prefect that fits.",
    )


async def _prefect(reference: str, dispatcher: AgentDispatcher | None) -> list[Finding]:
    from prefect.settings import get_current_settings

    from athanore.runs.links import named_api, own_api

    own = get_current_settings().server.api
    mine = version("prefect")
    if unfit := judge_prefect(mine):
        return [unfit]
    try:
        named = named_api()
        url = named or own_api()
        trouble = await trouble_at(url, _PATIENCE)
    except ConfigurationError as exc:
        return [failed("Prefect", exc)]
    if trouble is not None:
        if named or trouble.answers:
            return [Finding("Prefect", Level.FAIL, trouble.says, trouble.mend)]
        try:
            await check_port(own.host, own.port)
        except ConfigurationError as exc:
            return [failed("Prefect", exc)]
        return [
            Finding(
                "Prefect",
                Level.WARN,
                f"{mine}; no server runs at {url}.",
                "`athanore up` starts one; `prefect server start` does, too.",
            ),
            _database(_own_database(), "would be used"),
        ]
    try:
        server = await tell(url, "/admin/version", _PATIENCE)
    except (httpx.HTTPError, ValueError) as exc:
        says = f"{without_login(url)} does not answer any more: {reason(exc)}"
        return [Finding("Prefect", Level.FAIL, says)]
    level = Level.OK if server == mine else Level.WARN
    found = [
        Finding(
            "Prefect",
            level,
            f"{server} at {without_login(url)}, {mine} here",
            "" if level is Level.OK else "Give server and workers the same version.",
        ),
        await _web_pages(url),
        await _server_database(url),
    ]
    if dispatcher is not None:
        if (advice := await prefect_access.advice(dispatcher.settings, url)) is not None:
            says, _, mend = advice.partition(": ")
            found.append(
                Finding("Prefect credentials", Level.WARN, says, mend[:1].upper() + mend[1:])
            )
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from athanore.runs.connection.telling import telling_client

        try:
            with prefect_errors(), temporary_settings({PREFECT_API_URL: url}):
                async with telling_client() as client:
                    found += await _deployed(client, reference, dispatcher)
                    found += await _needs_person(client, reference, dispatcher)
        except AthanoreError as exc:
            found.append(failed("Prefect", exc))
    return found


async def _deployed(
    client: PrefectRunStore, reference: str, dispatcher: AgentDispatcher
) -> list[Finding]:
    """Work pools, deployments and workers of an app."""
    from prefect.exceptions import ObjectNotFound

    from athanore.deployments.app_record import check_app_record
    from athanore.runtime.apps import App
    from athanore.runtime.routes.route_registry import deployments_of
    from athanore.runtime.versions import app_version
    from athanore.services.status import machinery

    found: list[Finding] = []
    try:
        await check_app_record(client, App(reference, dispatcher))
    except AthanoreError as exc:
        found.append(failed("name", exc))
    deploy = "Run `athanore deploy`; `athanore up` does it by itself."
    versions = {d.version for d in (await deployments_of(client, dispatcher.name)).values()}
    if not versions:
        found.append(Finding("deployments", Level.WARN, "nothing is deployed yet.", deploy))
    elif versions != {app_version(dispatcher)}:
        listed = ", ".join(sorted(v or "none" for v in versions))
        says = f"version {listed} is deployed; the code here is {app_version(dispatcher)}."
        found.append(Finding("deployments", Level.WARN, says, deploy))
    else:
        found.append(Finding("deployments", Level.OK, f"version {app_version(dispatcher)}"))
    for name in (names.agents_pool(dispatcher.name), names.polls_pool(dispatcher.name)):
        try:
            pool = await client.read_work_pool(name)
        except ObjectNotFound:
            found.append(Finding("work pool", Level.WARN, f"{name} is not there yet.", deploy))
            continue
        workers = await machinery.online_workers(client, name)
        limit = "" if pool.concurrency_limit is None else f", at most {pool.concurrency_limit}"
        says = f"{name} (type {pool.type}{limit})"
        if pool.is_paused:
            mend = f"prefect work-pool resume {name}"
            found.append(Finding("work pool", Level.WARN, f"{says} is paused.", mend))
        elif not workers:
            mend = "Start `athanore worker` (or `athanore up`)."
            found.append(Finding("work pool", Level.WARN, f"{says} has no worker online.", mend))
        else:
            says = f"{says}; workers: {', '.join(workers)}"
            found.append(Finding("work pool", Level.OK, says))
    return found


async def _needs_person(
    client: PrefectRunStore, reference: str, dispatcher: AgentDispatcher
) -> list[Finding]:
    """What waits for a person; entries that cannot be read are told with the board."""
    from athanore.runtime.apps import App
    from athanore.services import dead_letters
    from athanore.services.status import machinery, needs_person

    routes = await (app := App(reference, dispatcher)).routes.read(client)
    parts = await machinery.look_at_machinery(client, app, routes)
    matters = needs_person.in_order(app.name, parts)
    with suppress(BoardError):  # which is a finding by itself
        at_rest = await dead_letters.at_rest(client, app, routes)
        held = await needs_person.of_matches(client, app, routes)
        matters = await needs_person.needs_person(app, routes, parts, at_rest, held)
    wanted = [m for m in matters if m.kind is not needs_person.Kind.BROKEN_ENTRY]
    found = [Finding("needs a person", Level.WARN, m.says, m.mend) for m in wanted[:_SHOWN]]
    found += [
        Finding("provider limit", Level.WARN, x.in_words(), "It ends by itself.")
        for x in parts.provider_limits
    ]
    if len(wanted) > _SHOWN:
        says = f"{len(wanted) - _SHOWN} things more need a person."
        found.append(Finding("needs a person", Level.WARN, says, "See `athanore status --json`."))
    return found


async def _web_pages(url: str) -> Finding:
    """Whether a web page could call the server: it would do so under a name of its own."""
    what = "Prefect access"
    if url.startswith("https:") or not await is_open(url, FOREIGN_HOST):
        return Finding(what, Level.OK, "a web page cannot reach it under a name of its own")
    return Finding(
        what,
        Level.WARN,
        f"{without_login(url)} answers without a password and under any name: a web page that "
        "somebody here opens can read, start and cancel runs.",
        "Let `athanore up` start the server, set PREFECT_SERVER_API_AUTH_STRING, or put a reverse "
        "proxy before it that checks the Host header; see docs/security.md.",
    )


async def _server_database(url: str) -> Finding:
    """The database of a server that runs; it tells its kind, if anything, and hides the rest."""
    try:
        settings = await tell(url, "/admin/settings", _PATIENCE)
        database: dict[str, Any] = settings["server"]["database"]
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return Finding("database", Level.OK, "not told by this server (Prefect Cloud, say)")
    if driver := database.get("driver"):
        return _database(str(driver), "is used")
    if not database.get("connection_url"):
        return _database("sqlite", "is used")
    own = _own_database()
    if own == "sqlite":
        return Finding("database", Level.OK, "set on the server, which does not tell its kind")
    return _database(own, "is used, as far as this environment tells")


def _own_database() -> str:
    """The database that a server started from here would use."""
    from prefect.settings import get_current_settings

    database = get_current_settings().server.database
    if database.connection_url is not None:
        return database.connection_url.get_secret_value().partition(":")[0]
    return database.driver or "sqlite"


def _database(kind: str, what: str) -> Finding:
    if kind.startswith("postgresql"):
        return Finding("database", Level.OK, f"PostgreSQL {what}")
    return Finding(
        "database",
        Level.OK,
        f"SQLite {what}: fine for one machine and a few agents; else see "
        "PostgreSQL in docs/deploying.md",
    )
