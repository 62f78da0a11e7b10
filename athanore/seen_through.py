"""Finishing what has begun, although its caller is cancelled meanwhile."""

from __future__ import annotations

import asyncio

import anyio


async def seen_through[T](work: asyncio.Future[T]) -> T:
    """Wait until `work` is done, however often the caller is cancelled, and return its result.

    `work` is best a future of an executor: `asyncio.run` cancels all tasks when it ends.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; `work` is done by then.
        Exception: whatever `work` raised.
    """
    cancelled: asyncio.CancelledError | None = None
    # The scope holds off anyio's cancellations, which would come again and again; asyncio's own
    # come once each, and go through every scope.
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError as exc:
                cancelled = exc
    if cancelled is None:
        return work.result()
    if not work.cancelled():
        work.exception()  # it was asked for; else asyncio would log that nobody did
    raise cancelled
