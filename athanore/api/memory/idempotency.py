"""Doing a thing once, however often it is asked for with the same Idempotency-Key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated, Any

from cachetools import TTLCache
from fastapi import Header
from pydantic import BaseModel, StringConstraints

from athanore.api.problems import Problem

_REMEMBERED = 10_000
_SECONDS = 24 * 3600

type IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255)] | None,
    Header(
        description="Any text of your choice, new for each thing that you do. The same request "
        "with the same key again changes nothing and gets the same answer (for 24 hours, from the "
        "same API process; a comment also if that was started anew meanwhile, on the same host)."
    ),
]


class Once:
    """Remembers what came of requests that carried a key."""

    def __init__(self) -> None:
        self._done: TTLCache[tuple[str, str], tuple[str, asyncio.Task[Any]]] = TTLCache(
            _REMEMBERED, ttl=_SECONDS
        )

    async def do[T](
        self, key: str | None, scope: str, body: BaseModel, action: Callable[[], Awaitable[T]]
    ) -> T:
        """Perform an action, or return what came of it the first time.

        An action that failed is forgotten, and may be tried again.

        Args:
            scope: what the key is unique in, as in `comment on 7`.

        Raises:
            Problem: 409, the key was used for something else.
        """
        if key is None:
            return await action()
        shown = sha256(body.model_dump_json().encode()).hexdigest()
        known = self._done.get((scope, key))
        if known is None:
            task: asyncio.Task[T] = asyncio.create_task(_run(action))
            self._done[(scope, key)] = (shown, task)
        else:
            first, task = known
            if first != shown:
                raise key_reused(key)
        try:
            return await asyncio.shield(task)
        except Exception:
            self._done.pop((scope, key), None)
            raise


def key_reused(key: str) -> Problem:
    """The refusal of a key that was used for something else."""
    return Problem(
        409,
        "key-reused",
        f"The Idempotency-Key {key!r} was used for another request; choose a new one.",
    )


async def _run[T](action: Callable[[], Awaitable[T]]) -> T:
    return await action()
