"""Looking for what was written without an answer, because it must not be written twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from cachetools import TTLCache

from athanore.errors import AnswerLostError, BoardUnavailableError

LOOKS: Final = (0.0, 2.0)
"""Seconds before each look for what was written without an answer."""

_MOST: Final = 1_000
_REMEMBERED: Final = timedelta(hours=1)


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


class Comments:
    """Comments on their way, each with a mark by which it is found again.

    One that stays in doubt is remembered for an hour after the last try: who writes the same again
    has it looked for by its first mark, and written only if it is not there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_doubt: TTLCache[tuple[str, str], Any] = TTLCache(
            _MOST, _REMEMBERED.total_seconds()
        )

    def write[M](
        self,
        task_id: str,
        text: str,
        new_mark: Callable[[], M],
        send: Callable[[M], object],
        find: Callable[[M], object | None],
    ) -> None:
        """Write a comment once.

        Args:
            send: writes it with a mark.
            find: what has this mark; None if nothing has.

        Raises:
            AnswerLostError: it may be written, and was not found; the same again is safe.
            BoardError: what `send` and `find` raise. If it was in doubt before, it still is.
        """
        key = (task_id, text)
        with self._lock:
            known = self._in_doubt.get(key)
        mark: M = new_mark() if known is None else known

        def sent() -> bool:
            try:
                send(mark)
            except AnswerLostError:
                self._keep(key, mark)
                raise
            return True

        try:
            if known is None or find(mark) is None:
                write_once(sent, lambda: find(mark))
        except AnswerLostError as exc:
            raise AnswerLostError(
                f"{exc} Writing the same comment on task {task_id!r} again does that: it is "
                "written only if it is not there.",
                may_repeat=True,
            ) from exc
        except BoardUnavailableError:
            if known is not None:
                self._keep(key, mark)
            raise
        with self._lock:
            self._in_doubt.pop(key, None)

    def _keep(self, key: tuple[str, str], mark: object) -> None:
        with self._lock:
            self._in_doubt[key] = mark
