"""What an error after a write says of that write, on every board."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from athanore.errors import AnswerLostError, BoardError, TaskMovedError


@contextmanager
def written(what: str) -> Generator[None]:
    """After a write that is done: what fails then does not say that nothing was changed.

    Args:
        what: what is done, as a sentence begins.

    Raises:
        AnswerLostError: something failed.
        TaskMovedError: the task is another's.
    """
    try:
        yield
    except (AnswerLostError, TaskMovedError):
        raise
    except BoardError as exc:
        raise AnswerLostError(f"{what}, and what became of it is not known: {exc}") from exc


@contextmanager
def still_lost(lost: AnswerLostError) -> Generator[None]:
    """After a write whose answer was lost, to look and write again: what fails leaves it lost.

    Raises:
        AnswerLostError: something failed.
    """
    try:
        yield
    except AnswerLostError:
        raise
    except BoardError as exc:
        raise lost from exc
