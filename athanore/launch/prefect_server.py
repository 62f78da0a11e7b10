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

from athanore.errors import AthanoreError, ConfigurationError, PrefectUnavailableError, reason
from athanore.http_client.proxies import by_way_of, proxy_for
from athanore.launch.own_prefect import OwnPrefect
from athanore.launch.server_process import server_command, server_environment

logger = logging.getLogger("athanore")

_PATIENCE = 30.0
_SAY_AFTER = 4.0
"""Seconds after which a person is told what is waited for."""

_BUSY = frozenset({502, 503, 504})
_REFUSED = frozenset({401, 403})
_SHOWN = 500


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
        ConfigurationError: the port is taken by something else.
    """
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url:
        if not await is_prefect(settings.api.url):
            raise PrefectUnavailableError(
                f"No Prefect server answers at {settings.api.url}"
                f"{by_way_of(settings.api.url)} (PREFECT_API_URL). "
                "Start it, or unset PREFECT_API_URL to have one started here."
            )
        yield PrefectServer(settings.api.url)
        return
    host, port = settings.server.api.host, settings.server.api.port
    url = f"http://{host}:{port}/api"
    if await is_prefect(url):
        logger.info("Using the Prefect server that runs at %s.", url)
        yield PrefectServer(url)
        return
    if await _port_is_taken(host, port):
        raise ConfigurationError(
            f"Port {port} on {host} is taken by something that is not a Prefect server; "
            "set PREFECT_SERVER_API_PORT to a free port."
        )
    logger.info("Starting a Prefect server at %s (its first start takes a while) ...", url)
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
    """
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url:
        if await is_prefect(settings.api.url, _PATIENCE):
            return settings.api.url
        raise PrefectUnavailableError(
            f"No Prefect server answers at {settings.api.url}"
            f"{by_way_of(settings.api.url)} (PREFECT_API_URL)."
        )
    url = f"http://{settings.server.api.host}:{settings.server.api.port}/api"
    if await is_prefect(url, _PATIENCE):
        return url
    raise PrefectUnavailableError(
        f"No Prefect server answers at {url}; start one (`prefect server start`), "
        "or set PREFECT_API_URL."
    )


async def is_prefect(url: str, patience: float = 5) -> bool:
    """Tell whether a Prefect API answers at this address.

    Args:
        patience: seconds that a server that is there may take for it.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(
        _SAY_AFTER, logger.warning, "Waiting for an answer of the Prefect server at %s ...", url
    )
    try:
        # To load the certificates takes longer than the request, so only where they are needed.
        transport = httpx.AsyncHTTPTransport(verify=url.startswith("https:"), proxy=proxy_for(url))
        timeout = httpx.Timeout(patience, connect=5)
        async with httpx.AsyncClient(
            timeout=timeout, headers=prefect_headers(), transport=transport
        ) as client:
            response = await client.get(f"{url}/admin/version")
            if response.status_code in _REFUSED:
                logger.warning(
                    "What answers at %s refuses (%d): %s",
                    url, response.status_code, response.text[:_SHOWN],
                )  # fmt: skip
            return response.status_code == 200 and isinstance(response.json(), str)
    except (httpx.HTTPError, ValueError):
        return False
    finally:
        timer.cancel()


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


def prefect_headers() -> dict[str, str]:
    """The headers that Prefect's API wants to see, from Prefect's settings."""
    from base64 import b64encode

    from prefect.settings import get_current_settings

    api = get_current_settings().api
    if api.auth_string:
        credentials = b64encode(api.auth_string.get_secret_value().encode()).decode()
        return {"Authorization": f"Basic {credentials}"}
    if api.key:
        return {"Authorization": f"Bearer {api.key.get_secret_value()}"}
    return {}


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
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
