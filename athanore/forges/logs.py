"""The end of a program's log that is at some address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import httpx

from athanore.http_client.proxies import proxy_for

TAIL: Final = 2000
"""Characters of the end of a log."""

_READ: Final = 20_000_000  # bytes of a log
_PIECE: Final = 65_536


def end_of_log(
    place: str, timeout: timedelta, headers: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The end of a log; "" where it cannot be read.

    Args:
        headers: sent to the server of `place`; another one that it names is given no credential.
    """
    kept = b""
    try:
        with (
            httpx.Client(proxy=proxy_for(place), timeout=timeout.total_seconds()) as http,
            http.stream("GET", place, headers=dict(headers), follow_redirects=True) as answer,
        ):
            if not answer.is_success:
                return ""
            for count, piece in enumerate(answer.iter_bytes(_PIECE)):
                kept = (kept + piece)[-8 * TAIL :]
                if count * _PIECE > _READ:
                    break
    except httpx.HTTPError:
        return ""
    return kept.decode("utf-8", "replace")
