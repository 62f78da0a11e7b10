"""An event loop in another thread, for a process whose main thread belongs to signals."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from athanore.seen_through import seen_through


async def in_thread(start: Callable[[], Any]) -> None:
    """Run a coroutine in an event loop of another thread; a cancellation is passed on to it."""
    ready: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]]
    here = asyncio.get_running_loop()
    ready = here.create_future()
    done: asyncio.Future[None] = here.create_future()

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        here.call_soon_threadsafe(ready.set_result, (asyncio.get_running_loop(), task))
        await start()

    def target() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            pass
        except BaseException as exc:
            error = exc
        here.call_soon_threadsafe(
            lambda: done.set_exception(error) if error else done.set_result(None)
        )

    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(target), name="athanore-worker")
    thread.start()
    loop, task = await ready
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        loop.call_soon_threadsafe(task.cancel)
        await seen_through(done)
        raise
    finally:
        await seen_through(here.run_in_executor(None, thread.join))
