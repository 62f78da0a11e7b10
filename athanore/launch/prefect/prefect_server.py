"""The Prefect server: the one that is configured, one that runs already, or one of our own."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import httpx

from athanore.errors import (
    AthanoreError,
    ConfigurationError,
    PrefectRefusesError,
    PrefectUnavailableError,
    reason,
)
from athanore.launch.prefect.own_prefect import OwnPrefect
from athanore.launch.prefect.prefect_probe import is_prefect, trouble_at
from athanore.launch.prefect.server_process import server_command, server_environment

logger = logging.getLogger("athanore")

_PATIENCE = 30.0
_BUSY = frozenset({502, 503, 504})


class PrefectServer(NamedTuple):
    """A Prefect server that answers.

    Attributes:
        url: the address of its API.
        watch: starts it again whenever it ends, if it is ours; see `OwnPrefect.watch`.
    """

    url: str
    watch: Callable[[], Coroutine[Any, Any, None]] | None = None


@asynccontextmanager
async def prefect_server(
    meanwhile: Callable[[], None] | None = None, secrets: Collection[str] = ()
) -> AsyncGenerator[PrefectServer]:
    """Yield where Prefect's API is; start a server if PREFECT_API_URL names none.

    A server of our own uses Prefect's settings for host, port and database (SQLite by default) and
    stops at the end. One that answers on that port already is used, and left running.

    Args:
        meanwhile: called while a server of our own starts.
        secrets: names of variables that a server of our own must not have in its environment.

    Raises:
        PrefectUnavailableError: the configured server does not answer, or ours does not start.
        ConfigurationError: the port is taken by something else, or PREFECT_API_URL is no address.
    """
    from prefect.settings import get_current_settings

    from athanore.runs.links import named_api, own_api

    if (named := named_api()) is not None:
        if (trouble := await trouble_at(named)) is not None:
            raise PrefectUnavailableError(f"{trouble.says} {trouble.mend}")
        yield PrefectServer(named)
        return
    api, url = get_current_settings().server.api, own_api()
    host, port = api.host, api.port
    if (trouble := await trouble_at(url)) is None:
        logger.info(
            "Using the Prefect server that runs at %s.", url, extra={"action": "prefect_found"}
        )
        yield PrefectServer(url)
        return
    if trouble.answers:
        raise ConfigurationError(
            f"Port {port} on {host} is taken: {trouble.says} Set PREFECT_SERVER_API_PORT to a free "
            "port."
        )
    await check_port(host, port)
    logger.info(
        "Starting a Prefect server at %s (its first start takes a while) ...",
        url,
        extra={"action": "prefect_starting"},
    )
    own = OwnPrefect(url, lambda mark: _spawn(host, port, mark, secrets), lambda: is_prefect(url))
    try:
        await own.start(meanwhile)
        yield PrefectServer(url, own.watch)
    finally:
        await own.stop()


async def find_prefect() -> str:
    """Return the address of the API of a Prefect server that runs; start none.

    Raises:
        PrefectUnavailableError: none answers, at PREFECT_API_URL or on Prefect's default port.
        ConfigurationError: PREFECT_API_URL is no address.
    """
    from athanore.runs.links import named_api, own_api

    named = named_api()
    url = named or own_api()
    trouble = await trouble_at(url, _PATIENCE)
    if trouble is None:
        return url
    if trouble.answers and not trouble.passes:
        raise PrefectRefusesError(f"{trouble.says} {trouble.mend}")
    if named or trouble.answers:
        raise PrefectUnavailableError(f"{trouble.says} {trouble.mend}")
    raise PrefectUnavailableError(
        f"No Prefect server answers at {url}. Start the app (`athanore up`, or `python run.py`), "
        "which starts one and then says Ready, or set PREFECT_API_URL to one that runs."
    )


@contextmanager
def prefect_errors() -> Generator[None]:
    """Turn what Prefect's client raises into errors of ours.

    Raises:
        PrefectUnavailableError: Prefect does not answer, or not now.
        AthanoreError: it refused a request.
    """
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except httpx.TransportError as exc:
        raise PrefectUnavailableError(f"Prefect does not answer any more: {reason(exc)}.") from exc
    except PrefectHTTPStatusError as exc:
        if exc.response.status_code in _BUSY:
            raise PrefectUnavailableError(f"Prefect cannot answer now: {exc}") from exc
        raise AthanoreError(f"Prefect refuses: {exc}") from exc


async def check_port(host: str, port: int) -> None:
    """Refuse a port that something else has; asked once no Prefect server answers there.

    Raises:
        ConfigurationError: it is taken.
    """
    if await _port_is_taken(host, port):
        raise ConfigurationError(
            f"Port {port} on {host} is taken by something that is not a Prefect server; "
            "set PREFECT_SERVER_API_PORT to a free port."
        )


async def _port_is_taken(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _spawn(
    host: str, port: int, mark: Mapping[str, str], secrets: Collection[str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        server_command(host, port),
        env={**server_environment(host, port, secrets=secrets), **mark},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
