"""What is looked at before anything starts, so that a mistake gets one clear line."""

from __future__ import annotations

import shlex
import shutil
from difflib import get_close_matches
from pathlib import Path

from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.queue_adapters.base import SupportsPrepare
from athanore.routes import QUEUE_OPTIONS, Route


def check_app(dispatcher: AgentDispatcher) -> None:
    """Check that a dispatcher can work: routes, board, queues, programs.

    A board that does not exist and can be made is made, with the queues that the routes name.

    Raises:
        ConfigurationError: something has to be mended first; the message says what.
        BoardError: the board cannot be read.
    """
    if not dispatcher.routes and not dispatcher.settings.enable_queue_management:
        raise ConfigurationError(
            "The dispatcher has no routes; decorate a prompt function with "
            '@dispatcher.route(queue_name="Todo").'
        )
    board = dispatcher.board
    if isinstance(board, SupportsPrepare):
        board.prepare(dispatcher.queue_names())
    check_queues(dispatcher, [q.name for q in board.list_queues()])
    for route in dispatcher.routes.values():
        check_agent(dispatcher, route)


def check_queues(dispatcher: AgentDispatcher, existing: list[str]) -> None:
    """Check that the board has every queue that the routes name.

    Raises:
        ConfigurationError: it has not.
    """
    for route in dispatcher.routes.values():
        for option in QUEUE_OPTIONS:
            wanted: str | None = getattr(route, option)
            if wanted is None or wanted in existing:
                continue
            close = get_close_matches(wanted, existing, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(
                f"Route {route.queue_name!r}: the board has no queue {wanted!r} ({option}).{hint} "
                f"It has: {', '.join(repr(q) for q in existing) or 'none'}."
            )


def check_agent(dispatcher: AgentDispatcher, route: Route) -> None:
    """Check that a route's command can be started; other agents are not looked at.

    Raises:
        ConfigurationError: it cannot.
    """
    agent = dispatcher.agent_for(route)
    if type(agent) is not SubprocessAgentAdapter:
        return
    try:
        words = shlex.split(route.command)
    except ValueError as exc:
        raise ConfigurationError(
            f"Route {route.queue_name!r}: command={route.command!r} cannot be split into words: "
            f"{exc}."
        ) from exc
    if not words:
        raise ConfigurationError(
            f"Route {route.queue_name!r} has nothing to run: pass command= to the dispatcher or "
            "the route, or agent= to the route."
        )
    path = route.env.get("PATH")
    program = words[0]
    if "/" in program and route.cwd is not None:
        program = str(Path(route.cwd) / program)
    if shutil.which(program, path=path) is None:
        raise ConfigurationError(
            f"Route {route.queue_name!r}: the command {words[0]!r} is not found"
            + ("" if "/" in words[0] else " on PATH")
            + "; install it, or give command= its path."
        )
