"""Looking for what was written without an answer, because it must not be written twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from cachetools import TTLCache

from athanore.errors import (
    AnswerLostError,
    BoardError,
    BoardUnavailableError,
    TaskNotFoundError,
)
from athanore.queue_adapters.tracker.answers import MissingError

LOOKS: Final = (0.0, 2.0)
"""Seconds before each look for what was written without an answer."""

_MOST: Final = 1_000
_REMEMBERED: Final = timedelta(hours=1)
_LAG: Final = timedelta(minutes=1)
"""For so long a tracker may not find what it has just created."""


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


def write_once[T](write: Callable[[], T], find: Callable[[], T | None], *, tries: int = 2) -> T:
    """Write something that must be there once; what is found though its answer was lost counts.

    If it is not found after some seconds it is written again.

    Args:
        tries: how often it is written at most.

    Raises:
        AnswerLostError: the answer was lost each time, and it was not found (yet).
    """
    while True:
        tries -= 1
        try:
            return write()
        except AnswerLostError as lost:
            if (found := look(lost, find)) is not None:
                return found
            if not tries:
                raise


class Writes:
    """Comments and new tasks on their way, each with a mark by which it is found again.

    One that stays in doubt is remembered for an hour after the last try: who writes the same again
    has it looked for by its first mark, and written only if it is not there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_doubt: TTLCache[tuple[str, ...], Any] = TTLCache(
            _MOST, _REMEMBERED.total_seconds()
        )
        self._unplaced: TTLCache[tuple[str, ...], Any] = TTLCache(
            _MOST, _REMEMBERED.total_seconds()
        )

    def comment[M](
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

        def sent(mark: M) -> bool:
            send(mark)
            return True

        again = f"Writing the same comment on task {task_id!r} again"
        found: Callable[[M], bool | None] = lambda mark: find(mark) is not None or None  # noqa: E731
        self._once(("comment", task_id, text), again, new_mark, sent, found)

    def task[M, T](
        self,
        queue: str,
        name: str,
        text: str,
        new_mark: Callable[[], M],
        send: Callable[[M], T],
        find: Callable[[M], T | None],
        *,
        tries: int = 2,
    ) -> T:
        """Create a task once, with the same arguments and errors as `comment`.

        Args:
            tries: how often it is sent at most; once where `find` is not certain.
        """
        again = f"Creating the task {name!r} again, in the same queue with the same description,"
        return self._once(("task", queue, name, text), again, new_mark, send, find, tries)

    def placed[M, R, T](
        self,
        queue: str,
        name: str,
        text: str,
        new_mark: Callable[[], M],
        send: Callable[[M], R],
        find: Callable[[M], R | None],
        place: Callable[[R], T],
        *,
        tries: int = 2,
    ) -> T:
        """Create a task once, as `task` does, and bring it to its queue.

        One that could not be brought there is remembered for an hour: who creates the same again
        has that one brought there.

        Args:
            place: takes what was created to the queue, where it may be already.

        Raises:
            BoardError: what `place` raises, if it is a refusal; the task stays where it is.
        """
        key = (queue, name, text)
        with self._lock:
            known = self._unplaced.get(key)
        if known is None:
            made = self.task(queue, name, text, new_mark, send, find, tries=tries)
            known = made, time.monotonic()
        made, since = known
        try:
            found = place(made)
        except BoardError as exc:
            is_missing = isinstance(exc, (MissingError, TaskNotFoundError))
            if is_missing and time.monotonic() - since > _LAG.total_seconds():
                with self._lock:
                    self._unplaced.pop(key, None)  # it was deleted
                return self.placed(queue, name, text, new_mark, send, find, place, tries=tries)
            with self._lock:
                self._unplaced[key] = known
            if is_missing or isinstance(exc, (AnswerLostError, BoardUnavailableError)):
                raise AnswerLostError(
                    f"The task {name!r} is created, and is not in {queue!r} yet: {exc} Creating it "
                    "again, in the same queue with the same description, brings this one there "
                    "while this process runs.",
                    may_repeat=True,
                ) from exc
            raise
        with self._lock:
            self._unplaced.pop(key, None)
        return found

    def _once[M, T](
        self,
        key: tuple[str, ...],
        again: str,
        new_mark: Callable[[], M],
        send: Callable[[M], T],
        find: Callable[[M], T | None],
        tries: int = 2,
    ) -> T:
        with self._lock:
            known = self._in_doubt.get(key)
        mark: M = new_mark() if known is None else known
        in_doubt = known is not None

        def sent() -> T:
            nonlocal in_doubt
            try:
                return send(mark)
            except AnswerLostError:
                in_doubt = True
                raise

        try:
            found = find(mark) if in_doubt else None
            if found is None:
                found = write_once(sent, lambda: find(mark), tries=tries)
        except BoardError as exc:
            if in_doubt:
                self._keep(key, mark)
            if isinstance(exc, AnswerLostError):
                raise AnswerLostError(
                    f"{exc} {again} does that while this process runs: it is written only if it "
                    "is not there.",
                    may_repeat=True,
                ) from exc
            raise
        with self._lock:
            self._in_doubt.pop(key, None)
        return found

    def _keep(self, key: tuple[str, ...], mark: object) -> None:
        with self._lock:
            self._in_doubt[key] = mark
