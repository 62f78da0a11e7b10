"""Which version of an app a deployment, a run or a worker has."""

from __future__ import annotations

import hashlib
import inspect

from athanore import __version__
from athanore.dispatcher import AgentDispatcher
from athanore.routes import Route


def app_version(dispatcher: AgentDispatcher) -> str:
    """Athanore's version and a short hash of the app's routes: `0.1.0+3fa94c21`.

    The same code gives the same version on every host; a changed route, prompt function or limit
    gives another one.
    """
    parts = [dispatcher.name, str(dispatcher.settings.max_concurrent_agents)]
    for route in dispatcher.routes.values():
        parts += _parts(dispatcher, route)
    return f"{__version__}+{hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:8]}"


def _parts(dispatcher: AgentDispatcher, route: Route) -> list[str]:
    agent = route.agent or dispatcher.default_agent
    try:
        prompt = inspect.getsource(route.prompt)
    except (OSError, TypeError):
        prompt = getattr(route.prompt, "__qualname__", type(route.prompt).__qualname__)
    values: list[object] = [
        route.queue_name, route.in_progress_queue, route.command, route.args,
        type(agent).__qualname__, prompt, route.poll_interval, route.timeout, route.stall_timeout,
        route.priority, route.max_concurrent, route.retry, route.dead_letter_queue,
        route.done_queue, route.on_cancel, route.pause_after_failures, route.resume_after,
        route.cwd, sorted(route.env),  # the names only: values may be secrets
    ]  # fmt: skip
    return [str(v) for v in values]
