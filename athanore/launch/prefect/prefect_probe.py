"""Whether Prefect's API answers at an address, asked as Prefect's own client would ask."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from typing import Any, NamedTuple

import httpx

from athanore.errors import reason
from athanore.http_client.addresses import without_login
from athanore.http_client.certificates import refused_certificate
from athanore.http_client.proxies import by_way_of

logger = logging.getLogger("athanore")

_SAY_AFTER = 4.0
"""Seconds after which a person is told what is waited for."""

_BUSY = frozenset({502, 503, 504})
_REFUSED = frozenset({401, 403, 407})
_SHOWN = 300
_OF_PREFECT = frozenset({"user-agent", "prefect-csrf-token", "prefect-csrf-client"})
"""Headers that Prefect's client sets itself, whatever PREFECT_CLIENT_CUSTOM_HEADERS says."""


class Trouble(NamedTuple):
    """Why there is no Prefect at an address.

    Attributes:
        says: what is so.
        mend: what to do.
        answers: whether something answers there.
        passes: it answers that it cannot now, so that waiting may help.
    """

    says: str
    mend: str
    answers: bool
    passes: bool = False


async def is_prefect(url: str, patience: float = 5) -> bool:
    """Tell whether a Prefect API answers at this address; see `trouble_at`."""
    return await trouble_at(url, patience) is None


async def trouble_at(url: str, patience: float = 5) -> Trouble | None:
    """Ask for Prefect's API at an address; None where it answers.

    Args:
        patience: seconds that a server that is there may take for it.

    Raises:
        ConfigurationError: the certificates that are set cannot be read.
    """
    shown = without_login(url)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(
        _SAY_AFTER, logger.warning, "Waiting for an answer of the Prefect server at %s ...", shown
    )
    try:
        response = await _ask(url, "/admin/version", patience)
    except httpx.HTTPError as exc:
        return _no_answer(url, exc)
    finally:
        timer.cancel()
    return _unlike_prefect(url, response)


async def tell(url: str, path: str, patience: float) -> Any:
    """GET what Prefect's API at an address tells, as JSON.

    Raises:
        httpx.HTTPError: nothing fitting answers.
        ValueError: the answer is no JSON.
    """
    return (await _ask(url, path, patience)).raise_for_status().json()


def prefect_headers() -> dict[str, str]:
    """The headers that Prefect's API and what is before it want to see, from Prefect's settings."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    headers = {
        name: value
        for name, value in settings.client.custom_headers.items()
        if name.lower() not in _OF_PREFECT
    }
    if settings.api.auth_string:
        credentials = b64encode(settings.api.auth_string.get_secret_value().encode()).decode()
        return {"Authorization": f"Basic {credentials}", **headers}
    if settings.api.key:
        return {"Authorization": f"Bearer {settings.api.key.get_secret_value()}", **headers}
    return headers


async def _ask(url: str, path: str, patience: float) -> httpx.Response:
    from athanore.runs.connection.transports import probe_transport

    timeout = httpx.Timeout(patience, connect=5)
    async with httpx.AsyncClient(
        transport=probe_transport(url), timeout=timeout, headers=prefect_headers()
    ) as client:
        return await client.get(url + path)


def _no_answer(url: str, error: httpx.HTTPError) -> Trouble:
    shown = without_login(url)
    if (refused := refused_certificate(error)) is not None:
        return Trouble(
            f"The certificate of the server at {shown}{by_way_of(url)} is refused: {refused}.",
            "Set PREFECT_API_SSL_CERT_FILE to a file with the certificate of its authority.",
            answers=True,
        )
    what = "" if isinstance(error, httpx.ConnectError) else f" ({reason(error)})"
    return Trouble(
        f"No Prefect server answers at {shown}{by_way_of(url)}{what}.",
        "Start it, or mend PREFECT_API_URL; without that variable, `athanore up` starts a server.",
        answers=False,
    )


def _unlike_prefect(url: str, response: httpx.Response) -> Trouble | None:
    """What an answer says that is not Prefect's version; None for one that is."""
    there = f"{without_login(url)}{by_way_of(url)}"
    status = response.status_code
    mend = "Mend PREFECT_API_URL; Prefect's API is at an address like http://127.0.0.1:4200/api."
    if status in _REFUSED:
        said = " ".join(response.text.split())[:_SHOWN]
        return Trouble(
            f"What answers at {there} refuses ({status}): {said or 'without a reason'}.",
            "Set what it asks for: PREFECT_API_AUTH_STRING, PREFECT_API_KEY, or headers in "
            "PREFECT_CLIENT_CUSTOM_HEADERS.",
            answers=True,
        )
    if status in _BUSY:
        return Trouble(
            f"Prefect at {there} cannot answer now ({status}).",
            "Look at the log of its server, or of the proxy before it.",
            answers=True,
            passes=True,
        )
    if response.has_redirect_location:
        target = without_login(str(response.headers["location"])).removesuffix("/admin/version")
        return Trouble(f"The address {there} leads on to {target}.", "Name that one.", answers=True)
    if status == 200:
        try:
            if isinstance(response.json(), str):
                return None
        except ValueError:
            pass
    if not url.endswith("/api"):
        mend = f"Prefect's API is mostly at /api: {without_login(url)}/api."
    return Trouble(
        f"What answers at {there} is not Prefect's API (status {status}).", mend, answers=True
    )
