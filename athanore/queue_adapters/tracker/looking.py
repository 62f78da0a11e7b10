"""Looking for what was written without an answer, because it must not be written twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from athanore.errors import AnswerLostError, BoardUnavailableError

LOOKS: Final = (0.0, 2.0)
"""Seconds before each look for what was written without an answer."""


def look[T](lost: AnswerLostError, find: Callable[[], T | None]) -> T | None:
    """Look for what was written, twice, because the lists of trackers lag; None if it is not there.

    Raises:
        AnswerLostError: the loss, because nothing can be read now.
    """
    for wait in LOOKS:
        time.sleep(wait)
        try:
            if (found := find()) is not None:
                return found
        except BoardUnavailableError:
            raise lost from None
    return None


def write_once[T](write: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Write something that must be there once; what is found though its answer was lost counts.

    If it is not found after some seconds it is written once more.

    Raises:
        AnswerLostError: the answer was lost twice, and it was not found (yet).
    """
    try:
        return write()
    except AnswerLostError as lost:
        if (found := look(lost, find)) is not None:
            return found
    try:
        return write()
    except AnswerLostError as again:
        if (found := look(again, find)) is not None:
            return found
        raise
