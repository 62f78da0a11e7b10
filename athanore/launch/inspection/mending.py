"""What `athanore doctor --fix` puts right, and a start at a terminal asks for."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.models import Queue
from athanore.queue_adapters.base import SupportsLook
from athanore.routing.route_rules import WrongQueue, wrong_queues
from athanore.texts import shown

logger = logging.getLogger("athanore")


class QueuesMissingError(ConfigurationError):
    """The board has not all queues that the app names, and `make_queues` makes those."""


def mended_by_doctor(dispatcher: AgentDispatcher, queues: list[Queue], reference: str) -> str:
    """Say which command makes the queues that are missing; "" if a person has to look at one.

    Args:
        reference: the app, as `run.py:dispatcher`; "" where whoever reads it knows.

    Raises:
        BoardError: the board cannot be read.
    """
    missing = list(_missing(dispatcher, queues))
    if not missing or any(wrong.is_like_another for wrong in missing):
        return ""
    names = list(dict.fromkeys(repr(wrong.wanted) for wrong in missing))
    command = shlex.join(filter(None, ("athanore", "doctor", reference, "--fix")))
    return f"To have {' and '.join(names)} made: {command}"


def make_queues(dispatcher: AgentDispatcher) -> list[str]:
    """Make the queues that the app names and the board has not; return their names.

    A name that is like one of the board's is most likely mistyped, and left for a person.

    Raises:
        AthanoreError: there is no board, or it cannot be changed.
    """
    board = dispatcher.board
    if isinstance(board, SupportsLook) and not board.exists():
        return []  # the first start makes it, with all of them
    wanted = [w.wanted for w in _missing(dispatcher, board.list_queues()) if not w.is_like_another]
    made = list(dict.fromkeys(wanted))
    for name in made:
        board.create_queue(name)
    return made


def after_asking_for_queues(dispatcher: AgentDispatcher, run: Callable[[], bool]) -> bool:
    """Run; where queues are missing, ask whether to make them, and run again."""
    try:
        return run()
    except QueuesMissingError as exc:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise  # nothing is changed that nobody has asked for
        _ask_whether_to_make(exc)
    for name in make_queues(dispatcher):
        logger.info("Queue %r is made.", name, extra={"action": "queue_made"})
    return run()


def _ask_whether_to_make(missing: QueuesMissingError) -> None:
    """Ask who is at the terminal, and end after a no."""
    try:
        sys.stderr.write(f"athanore: {shown(str(missing))}\nMake what is missing now? [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise SystemExit(130) from None
    if answer.strip().lower() not in ("y", "yes"):
        raise SystemExit(2)


@dataclass(frozen=True, slots=True)
class _Named:
    """Scheduled work, as what names a queue."""

    queue_name: str


def _missing(dispatcher: AgentDispatcher, queues: list[Queue]) -> Iterator[WrongQueue]:
    naming: list[object] = [*dispatcher.routes.values()]
    naming += [_Named(schedule.queue) for schedule in dispatcher.schedules.values()]
    for one in naming:
        yield from (w for w in wrong_queues(one, dispatcher.board, queues) if w.why == "missing")
