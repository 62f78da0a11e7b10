"""Taking over a changed run.py while agents work: announced, and done when somebody says so.

A changed file is only read, not run, until then: agents may be able to write it, and what is in it
has the worker's rights. What was started keeps the route that it was started with. Where Prefect is
away, the code is taken over all the same, and Prefect is told of it when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import monotonic

from athanore.deployments import deploy, planned, poll_now
from athanore.dispatcher import AgentDispatcher
from athanore.errors import (
    AthanoreError,
    ConfigurationError,
    DispatchError,
    PrefectUnavailableError,
    reason,
)
from athanore.launch.inspection.checks import check_app
from athanore.launch.prefect.prefect_probe import trouble_at
from athanore.launch.prefect.prefect_server import prefect_errors
from athanore.launch.renewal import code
from athanore.routing.routes import Route
from athanore.runs.capacity import pausing
from athanore.runs.connection.telling import telling_client
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.versions import described
from athanore.services.people.notices import channels
from athanore.settings import Settings

logger = logging.getLogger("athanore")

_LOOK = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)
_PATIENCE = 3.0
"""Seconds that Prefect may take to say that it is there."""
_AT_START = (
    "api_host",
    "api_port",
    "api_url",
    "api_auth",
    "api_key",
    "webhook_token",
    "log_format",
    "notify_webhook_url",
    "notify_webhook_secret",
    "enable_queue_management",
    "worker_limit",
    "min_free_memory",
    "min_free_disk",
    "host_labels",
    "worker_lost_after",
    "reload",
)
"""Settings that count from the start of a process to its end."""


@dataclass(frozen=True, slots=True)
class _Owed:
    """That Prefect does not know the code yet.

    Attributes:
        held: the routes to hold.
        why: what Prefect, or its absence, said last.
        pause: from the last try to the next one.
        due: when that is, in seconds of a clock that nobody can set.
    """

    held: list[Route]
    why: str
    pause: timedelta
    due: float


class Reloader:
    """Looks whether the code of an app has changed, and takes it over.

    Args:
        renew: is called when that is done.
    """

    def __init__(self, app: App, renew: Callable[[], None]) -> None:
        self._app = app
        self._renew = renew
        self._code = code.read_code(app.file)
        self._seen = self._code
        self._one_at_a_time = asyncio.Lock()
        self._owed: _Owed | None = None

    async def watch(self) -> None:
        """Announce a changed file, or take it over, until cancelled; tell Prefect what is owed."""
        pending = self._code
        while True:
            await asyncio.sleep(_LOOK.total_seconds())
            now = await asyncio.to_thread(code.read_code, self._app.file)
            if now != pending:
                pending = now  # it may be half written
            elif now != self._seen:
                self._seen = now
                if now != self._code:
                    await self._changed(now)
            if self._owed is not None and monotonic() >= self._owed.due:
                await self._catch_up()

    async def _changed(self, now: dict[Path, str]) -> None:
        lines = [self._app.redactor.text(line) for line in code.changed_lines(self._code, now)]
        listed = "".join(f"\n    {line}" for line in lines)
        is_auto = self._is_auto()
        logger.info(
            "%s has changed. %s%s",
            self._app.file.name,
            "It is taken over."
            if is_auto
            else f"{self._how()} to take it over without stopping agents.",
            listed,
            extra={"action": "code_changed"},
        )
        if is_auto:
            await self.by_key()

    def _is_auto(self) -> bool:
        """Whether code is taken over by itself; not where agents can change it meanwhile."""
        wanted = self._app.dispatcher.settings.reload
        if wanted == "auto":
            try:
                code.check_auto(self._app.file)
            except ConfigurationError as exc:
                logger.error("%s", exc, extra={"action": "reload_failed"})
                return False
        return wanted != "ask"

    async def by_key(self) -> None:
        """Take the code over as it is now, and log what comes of it."""
        try:
            await self.take_over()
        except AthanoreError as exc:
            logger.error("%s", exc, extra={"action": "reload_failed"})

    async def take_over(self) -> list[str]:
        """Take the code over as it is now; return what that changes, a line each.

        Raises:
            ConfigurationError: it cannot be; the app goes on with the code that it has.
        """
        async with self._one_at_a_time:
            app = self._app
            now = code.read_code(app.file)
            try:
                newer = await asyncio.to_thread(self._load)
            except AthanoreError as exc:
                self._seen = now
                raise ConfigurationError(
                    f"{app.file.name} is not taken over: {exc} The app goes on with the code that "
                    f"it has. Mend the file; then {self._how().rstrip(',').lower()}."
                ) from exc
            before = dict(app.dispatcher.routes)
            settings, said = self._settings(newer)
            held, told = _held(before, newer), _told(app)
            app.dispatcher.take_over(newer, held, settings)
            app.code_changed()
            self._code = self._seen = now
            self._renew()
            said += code.differences(before, app.dispatcher.routes)
            if (now_told := _told(app)) != told:
                said.append(f"notify {told} -> {now_told}")
            said += await self._deploy_or_later(held)
            said = [app.redactor.text(line) for line in said]
            logger.info(
                "%s is taken over as version %s: %s.",
                app.file.name,
                app.version,
                "; ".join(said) or "nothing is different",
                extra={"action": "reloaded"},
            )
            return said

    def _how(self) -> str:
        """How a person has the code taken over; the API does it only for those who have its key."""
        needs_token = self._app.dispatcher.settings.api_auth == "token"
        return "Press r, or give `athanore reload`," if needs_token else "Press r in its terminal"

    def _load(self) -> AgentDispatcher:
        old = self._app.dispatcher
        newer = code.load_anew(self._app.reference, self._app.file)
        if newer.is_named and newer.name != old.name:
            raise ConfigurationError(
                f"name={newer.name!r}: the app is {old.name!r}, and another name is another app; "
                "stop this one and start that."
            )
        if described(newer.queue_backend) != described(old.queue_backend):
            raise ConfigurationError("queue_backend= is another board; that needs a new start.")
        newer.use_board_of(old)
        check_app(newer, self._app.reference)
        return newer

    def _settings(self, newer: AgentDispatcher) -> tuple[Settings, list[str]]:
        """The settings from now on, and which changed ones wait for the next start."""
        old, new = self._app.dispatcher.settings, newer.settings
        kept = {name: getattr(old, name) for name in _AT_START}
        wait = [name for name, value in kept.items() if getattr(new, name) != value]
        settings = new.model_copy(update=kept)
        said = [
            f"{name} {getattr(old, name)} -> {getattr(settings, name)}"
            for name in ("max_concurrent_agents", "shutdown_grace")
            if getattr(old, name) != getattr(settings, name)
        ]
        return settings, said + [f"{name} counts from the next start on" for name in wait]

    async def _deploy_or_later(self, held: list[Route]) -> list[str]:
        """Bring Prefect in line; one that is away, or fails, is told later, until it has heard."""
        try:
            said = await self._deploy(held)
        except Exception as exc:
            before, why = self._owed, reason(exc)
            pause = _LOOK if before is None else min(2 * before.pause, _LONGEST_PAUSE)
            self._owed = _Owed(held, why, pause, monotonic() + pause.total_seconds())
            if before is None or before.why != why:
                logger.warning(
                    "Prefect is told what has changed as soon as it answers. %s",
                    why,
                    extra={"action": "reload_waits"},
                )
            return ["Prefect does not answer, and is told what has changed when it does"]
        self._owed = None
        return said

    @property
    def _is_owing(self) -> bool:
        return self._owed is not None

    async def _catch_up(self) -> None:
        """Tell Prefect what it could not be told before, if it is back."""
        async with self._one_at_a_time:
            if self._owed is None:
                return
            said = await self._deploy_or_later(self._owed.held)
            if not self._is_owing:
                logger.info(
                    "Prefect is back, and has version %s of %s: %s.",
                    self._app.version,
                    self._app.file.name,
                    self._app.redactor.text("; ".join(said)) or "all routes are deployed",
                    extra={"action": "reloaded"},
                )

    async def _deploy(self, held: list[Route]) -> list[str]:
        """Bring Prefect in line; hold the routes that are missing, let others go on.

        Raises:
            PrefectUnavailableError: it is away. Asked first, because its client tries for a minute.
        """
        with prefect_errors():
            async with telling_client() as client:
                if (trouble := await trouble_at(client.address.rstrip("/"), _PATIENCE)) is not None:
                    raise PrefectUnavailableError(trouble.says)
                return await self._bring_in_line(client, held)

    async def _bring_in_line(self, client: PrefectRunStore, held: list[Route]) -> list[str]:
        app = self._app
        await deploy(client, await planned(client, app.dispatcher, app.reference))
        routes = await app.routes.read(client, fresh=True)
        for route in held:
            with suppress(DispatchError):  # this Prefect does not know the route
                await self._hold(client, route)
        here = [name for name in routes if name not in {route.name for route in held}]
        back = await let_go_on(client, app, here)
        await poll_now(client, app.name, here)
        app.local_runs.wake()
        said = [f"route {name!r} is back, and goes on" for name in back]
        return said + [f"route {r.name!r} is missing: held until a deploy removes it" for r in held]

    async def _hold(self, client: PrefectRunStore, route: Route) -> None:
        app = self._app
        why = (
            f"Route {route.name!r} is not in {app.file.name} any more. Put it back and reload, or "
            "remove it with `athanore deploy`."
        )
        named = (client, app.name, route.name)
        await pausing.pause(*named, was=route.was, reason=why, is_missing=True)


async def let_go_on(client: PrefectRunStore, app: App, here: Iterable[str]) -> list[str]:
    """Resume the routes that were held because the code had them no more, and has them again.

    Returns those that go on.

    Args:
        here: the routes that the code has.
    """
    found: list[str] = []
    for name in set(here) & set(await pausing.missing(client, app.name)):
        route, now = app.dispatcher.routes.get(name), app.clock.now()
        was, host = (route.was, route.host) if route else ((), None)
        if await pausing.let_found_go_on(client, app.name, name, now, was=was, host=host):
            logger.info("Route %r goes on.", name, extra={"action": "route_back"})
            found.append(name)
    return found


def _told(app: App) -> str:
    """Whom the app tells, by the names of the channels."""
    return ", ".join(channel.name for channel in channels(app)) or "nobody"


def _held(before: dict[str, Route], newer: AgentDispatcher) -> list[Route]:
    """The routes that are not in the newer code, under whatever name; they come last of all."""
    known = {name for route in newer.routes.values() for name in route.names}
    return [replace(r, priority=None) for name, r in before.items() if name not in known]
