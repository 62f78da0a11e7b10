"""The Prefect server that Athanore starts: Prefect's own, with the writers of SQLite in a queue.

Prefect begins most transactions on SQLite as readers. One that then writes while another has
written fails at once ("database is locked"), whatever the time-out: requests end in 503, and
Prefect's services try the same again and again. Here each transaction begins as a writer, and they
pass one after the other. Only the transaction's own BEGIN says so. Another session that Prefect
opens meanwhile (to read the work pool of a queue that is being paused, for example) begins as
Prefect has it: a second writer would wait for the first, which waits for that session.

And scheduled polls have names that say what they are.

uvicorn calls `create_app` in the server's process (see `athanore.launch.prefect.prefect_server`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, cast, override
from urllib.parse import urljoin
from weakref import WeakKeyDictionary

from prefect.server.api.server import create_app as prefect_app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from prefect.server.database.orm_models import FlowRun
from prefect.server.utilities.database import get_dialect
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from athanore import names
from athanore.http_client.hosts import HostPolicy
from athanore.launch.prefect.prefect_guard import PrefectGuard
from athanore.processes.hardening import hide_memory

_for_good = ExitStack()


class _Turn:
    """One transaction's time as the writer."""

    is_over = False


_turn = ContextVar[_Turn | None]("turn", default=None)
"""The turn in which this code runs; a task that was started in it may outlive it."""


class QueuedSqlite(AioSqliteConfiguration):
    """SQLite, which has one writer at a time."""

    def __init__(self, connection_url: str) -> None:
        super().__init__(connection_url=connection_url)
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @override
    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction]:
        """Begin as a writer when it is this transaction's turn.

        One that begins while its caller has another open would wait for itself: it begins as
        Prefect has it.
        """
        if (turn := _turn.get()) is not None and not turn.is_over:
            async with super().begin_transaction(session, with_for_update) as transaction:
                yield transaction
            return
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            turn = _Turn()
            token = _turn.set(turn)
            try:
                async with super().begin_transaction(session, with_for_update=True) as transaction:
                    await session.connection()  # sends BEGIN IMMEDIATE
                    with _as_prefect_has_it():
                        yield transaction
            finally:
                turn.is_over = True
                _turn.reset(token)


@contextmanager
def _as_prefect_has_it() -> Generator[None]:
    """Keep the mode of the transaction that has begun from the sessions within it."""
    token = SQLITE_BEGIN_MODE.set(None)
    try:
        yield
    finally:
        SQLITE_BEGIN_MODE.reset(token)


def _name_polls() -> None:
    """Have scheduled polls called `poll Todo`, and not by two words that mean nothing.

    Prefect draws the name of a run from the default of its column.
    """
    default: Any = FlowRun.__table__.c.name.default
    drawn = default.arg

    def name(context: Any) -> str:
        row = context.get_current_parameters()
        tags, parameters = row.get("tags"), row.get("parameters")
        if isinstance(tags, list) and isinstance(parameters, dict):
            return names.poll_name(cast(Any, tags), cast(Any, parameters)) or drawn(context)
        return drawn(context)

    default.arg = name


def create_app() -> PrefectGuard:
    """Return Prefect's application behind its guard, for uvicorn."""
    hide_memory()  # the password and the database's are in its environment
    _name_polls()
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if get_dialect(url).name == "sqlite":
        _for_good.enter_context(temporary_database_config(QueuedSqlite(url)))
    return PrefectGuard(prefect_app(), _hosts())


def _hosts() -> HostPolicy:
    """Who may call the server, by Prefect's settings; not by its default, every web page."""
    settings = get_current_settings()
    api, ui = settings.server.api, settings.ui_url or ""
    chosen = "cors_allowed_origins" in api.model_fields_set
    pages = api.cors_allowed_origins.split(",") if chosen else []
    return HostPolicy(api.host, ui, *pages, origins=[*pages, urljoin(ui, "/")])
