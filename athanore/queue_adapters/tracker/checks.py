"""What boards over HTTP refuse before they ask their server, and why something is not there."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from athanore.errors import InvalidTaskError, TaskNotFoundError
from athanore.queue_adapters.tracker.answers import MissingError


def check_name(name: str) -> None:
    """Refuse an empty name.

    Raises:
        InvalidTaskError: it is.
    """
    if not name.strip():
        raise InvalidTaskError(f"A name must not be empty; it was {name!r}.")


def check_comment(task_id: str, text: str) -> None:
    """Refuse an empty comment on a task.

    Raises:
        InvalidTaskError: it is.
    """
    if not text.strip():
        raise InvalidTaskError(f"A comment on task {task_id!r} must not be empty.")


@contextmanager
def about(
    task_id: str, is_id: Callable[[str], bool], look: Callable[[], object]
) -> Generator[None]:
    """Say why a tracker does not find something of an issue: it, or all of the board.

    Args:
        is_id: tells whether a text can be an issue's id; others are not asked for.
        look: a read of what the board is in, which raises if that cannot be seen.
    """
    if not is_id(task_id):
        raise TaskNotFoundError(task_id)
    try:
        yield
    except MissingError as exc:
        look()
        raise TaskNotFoundError(task_id) from exc
