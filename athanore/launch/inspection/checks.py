"""What is looked at before anything starts, so that a mistake gets one clear line."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from athanore.agent_adapters.base import SupportsCheck
from athanore.agent_adapters.common.by_task import is_agent_function
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError, QueueNotFoundError
from athanore.launch.inspection.mending import QueuesMissingError, mended_by_doctor
from athanore.models import Queue
from athanore.queue_adapters.base import QueueAdapter, SupportsLook, SupportsPrepare
from athanore.queue_adapters.vouching import VouchesForAuthors
from athanore.routing.route_rules import wrong_queues
from athanore.routing.routes import Route
from athanore.settings import NO_SECRET


def check_app(dispatcher: AgentDispatcher, reference: str = "") -> None:
    """Check that a dispatcher can work: routes, board, queues, programs.

    A board that does not exist and can be made is made, with the queues that the routes name.

    Args:
        reference: the app, as `run.py:dispatcher`, for commands that mend what is wrong.

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
    check_queues(dispatcher, reference)
    _check_schedules(dispatcher, reference)
    _check_notify(dispatcher)
    _check_answers(dispatcher)
    for route in dispatcher.routes.values():
        check_agent(dispatcher, route)


def _check_schedules(dispatcher: AgentDispatcher, reference: str) -> None:
    for schedule in dispatcher.schedules.values():
        try:
            dispatcher.board.get_queue(schedule.queue)
        except QueueNotFoundError as exc:
            mend = mended_by_doctor(dispatcher, dispatcher.board.list_queues(), reference)
            says = f"every(name={schedule.name!r}): queue={schedule.queue!r}: {exc}"
            raise _wrong_queue(says, mend) from exc


def _wrong_queue(says: str, mend: str) -> ConfigurationError:
    """What to raise for a queue that is missing; `mend` says how to have it made, if it may be."""
    return QueuesMissingError(f"{says} {mend}") if mend else ConfigurationError(says)


def _check_notify(dispatcher: AgentDispatcher) -> None:
    settings = dispatcher.settings
    if settings.notify_webhook_url is not None and settings.notify_webhook_secret is None:
        raise ConfigurationError(NO_SECRET)


def _check_answers(dispatcher: AgentDispatcher) -> None:
    board = dispatcher.board
    vouches = isinstance(board, VouchesForAuthors) and board.vouches_for_authors
    for route in dispatcher.routes.values():
        if route.answer_by_comment and not vouches:
            raise ConfigurationError(
                f"Route {route.name!r}: answer_by_comment=True needs a board that says which "
                "authors of comments may write to it, as GitHub, GitLab, Jira and Linear do; "
                f"{type(board).__name__} does not. Leave it out, and answer with `athanore answer` "
                "or on the board page."
            )


def board_place(board: QueueAdapter) -> str:
    """Where a board is, for people."""
    return board.place if isinstance(board, SupportsLook) else type(board).__name__


def look_at_board(dispatcher: AgentDispatcher) -> list[Queue] | None:
    """Check a board as `check_app` does, but make none: None if the first start will make it.

    Raises:
        ConfigurationError: it cannot work as it is, or has not the queues that the routes name.
        BoardError: it cannot be read.
    """
    board = dispatcher.board
    if isinstance(board, SupportsLook):
        board.check_place()
        if not board.exists():
            return None
    elif isinstance(board, SupportsPrepare):
        board.prepare(dispatcher.queue_names())  # a board that is there is only checked
    return check_queues(dispatcher)


def check_queues(dispatcher: AgentDispatcher, reference: str = "") -> list[Queue]:
    """Check that the board has every queue that the routes name; return all that it has.

    The board must be prepared: a name may mean something to it only then.

    Raises:
        QueuesMissingError: it has not, and they can be made.
        ConfigurationError: it has not, or a watched one is closed.
    """
    board = dispatcher.board
    queues = board.list_queues()
    for route in dispatcher.routes.values():
        if wrong := wrong_queues(route, board, queues):
            mend = ""
            says = " ".join(
                w.says[:1].upper() + w.says[1:] if n else w.says for n, w in enumerate(wrong)
            )
            if any(w.why == "missing" for w in wrong):
                listed = ", ".join(repr(q.name) for q in queues) or "none"
                mend = mended_by_doctor(dispatcher, queues, reference)
                says = f"{says} It has: {listed}."
            raise _wrong_queue(f"Route {route.name!r}: {says}", mend)
    return queues


def circles(routes: Iterable[Route]) -> list[str]:
    """Routes that hand tasks round by `done_queue`, as `'Todo' -> 'Review' -> 'Todo'`."""
    # Of several routes of a queue one that hands on stands for all.
    onward = {r.queue_name: r.done_queue for r in routes if r.done_queue is not None}
    found: dict[frozenset[str], str] = {}
    for start in onward:
        way = [start]
        while (following := onward.get(way[-1])) and following not in way:
            way.append(following)
        if following == start:
            found.setdefault(frozenset(way), " -> ".join(map(repr, [*way, start])))
    return list(found.values())


def check_agent(dispatcher: AgentDispatcher, route: Route) -> None:
    """Check that a route's agent can be started, as far as that can be seen before.

    Raises:
        ConfigurationError: it cannot.
    """
    cwd = route.cwd
    if cwd is not None and not (cwd.is_dir() and os.access(cwd, os.X_OK)):
        why = "does not exist"
        if cwd.exists():
            why = "may not be entered" if cwd.is_dir() else "is no folder"
        raise ConfigurationError(
            f"Route {route.name!r}: cwd={str(cwd)!r} {why}; make it, or mend the path."
        )
    if route.workspace is not None and (wrong := route.workspace.check()):
        raise ConfigurationError(f"Route {route.name!r}: {wrong}.")
    own = route.agent or dispatcher.default_agent
    agent = None if is_agent_function(own) else dispatcher.agent_for(route)
    for adapter in (agent, route.fallback_agent):
        if isinstance(adapter, SupportsCheck) and (
            wrong := adapter.check({**os.environ, **route.env}, cwd)
        ):
            raise ConfigurationError(f"Route {route.name!r}: {wrong}")
    if type(agent) is not SubprocessAgentAdapter:
        return
    try:
        words = shlex.split(route.command)
    except ValueError as exc:
        raise ConfigurationError(
            f"Route {route.name!r}: command={route.command!r} cannot be split into words: {exc}."
        ) from exc
    if not words:
        raise ConfigurationError(
            f"Route {route.name!r} has nothing to run: pass command= to the dispatcher or "
            "the route, or agent= to the route."
        )
    path = route.env.get("PATH")
    program = words[0]
    if "/" in program and route.cwd is not None:
        program = str(Path(route.cwd) / program)
    found = shutil.which(program, path=path)
    if found is not None and (interpreter := _missing_interpreter(Path(found))):
        raise ConfigurationError(
            f"Route {route.name!r}: {found} is a script for {interpreter!r}, which does not "
            "exist; install that, or mend the script's first line."
        )
    if found is None:
        raise ConfigurationError(
            f"Route {route.name!r}: the command {words[0]!r} is not found"
            + ("" if "/" in words[0] else " on PATH")
            + "; install it, or give command= its path."
        )


def _missing_interpreter(program: Path) -> str | None:
    """The program that a script's first line names, if that does not exist."""
    try:
        with program.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    if not words or os.path.exists(words[0]):
        return None
    return os.fsdecode(words[0])
