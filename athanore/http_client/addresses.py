"""Addresses as people write them: read, made from a host and a port, and shown without a login."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from athanore.errors import ConfigurationError

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def address_of(host: str, port: int) -> str:
    """The address under which this machine reaches what is bound to a host and a port."""
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_address(text: str, name: str, example: str) -> str:
    """Return an address that a person has set, without blanks around it and slashes at its end.

    Args:
        name: where it was set, for the message.
        example: what it could look like.

    Raises:
        ConfigurationError: it is none of http or https, or cannot be read.
    """
    import httpx  # which takes a while, and most apps name no address

    address = text.strip().rstrip("/")
    try:
        httpx.URL(address)
        parts = _split(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except (ValueError, httpx.InvalidURL):
        fits = False
    if not fits or re.search(r"\s", address):
        raise ConfigurationError(
            f"{name}={without_login(text)!r} must be an address like {example}."
        )
    return address


def without_login(address: str) -> str:
    """The address without the user and the password in it, for whatever is shown or handed on."""
    try:
        parts = _split(address)
    except ValueError:  # what cannot be read may have the password anywhere before the host
        return re.sub(r"//.*@", "//", address)
    return address.replace(f"//{parts.netloc}", f"//{parts.netloc.rpartition('@')[2]}", 1)


def passwords_in(address: str) -> frozenset[str]:
    """The password in an address, as it is written there and as it is meant.

    An address may lack its scheme, as that of a proxy sometimes does.
    """
    try:
        written = _split(address if "//" in address else f"//{address}").password
    except ValueError:
        return frozenset()
    return frozenset({written, unquote(written)}) if written else frozenset()


def _split(address: str) -> SplitResult:
    """Split an address; a port that is no number is a ValueError, too."""
    parts = urlsplit(address)
    parts.port  # noqa: B018
    return parts
