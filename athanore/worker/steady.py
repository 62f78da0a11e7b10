"""What a worker that has begun does not end for: an error of Prefect's that may pass."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import httpx
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from athanore.errors import PrefectUnavailableError

logger = logging.getLogger("athanore.worker")

PASSING = (httpx.HTTPError, ObjectNotFound, ObjectAlreadyExists, PrefectUnavailableError)
"""Errors of a request; a proxy, say, answers 404 while Prefect is started anew behind it."""


async def steadily(synchronise: Callable[[], Awaitable[None]], *, is_new: bool) -> None:
    """Bring a worker up to date with Prefect; that it fails ends no worker that has begun.

    Prefect's loop ends it for one refusal, and for an outage of some minutes. It calls again with
    the next heartbeat.

    Args:
        is_new: the worker is being set up: then its address or its rights may be wrong.
    """
    try:
        await synchronise()
    except PASSING as exc:
        if is_new:
            raise
        logger.warning(
            "Prefect does not answer as it should (%s: %s); it is asked again.",
            type(exc).__name__,
            exc,
            extra={"action": "sync_failed"},
        )
