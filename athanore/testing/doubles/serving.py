"""Runs a double as a real HTTP server, in a thread, on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def served(app: ASGIApp, name: str, *, dates: bool = False) -> Generator[str]:
    """Serve an application, and give its address.

    Args:
        name: what it is a double of, for messages.
        dates: whether answers say when they were made, if the application does not.
    """
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        ws="none",
        log_level="critical",
        date_header=dates,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name=f"{name.lower()}-double")
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError(f"The double of {name} could not start; see its log.")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
