"""The claim: of all processes with one token, one at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from athanore.errors import (
    AnswerLostError,
    BoardError,
    BoardUnavailableError,
    TaskMovedError,
)
from athanore.queue_adapters.gitlab.issues import Issue
from athanore.queue_adapters.gitlab.project import Project
from athanore.queue_adapters.tracker.answers import Json, MissingError

logger = logging.getLogger(__name__)

EMOJI: Final = "lock"
"""An account can give an issue this emoji once. Whoever has given it may claim the issue."""

LEFT_BEHIND: Final = timedelta(minutes=1)
"""The age of an emoji whose process did not live to take it back."""

LOOKS: Final = (0.3, 0.7, 1.5)
"""Seconds before each look whether another process has claimed the issue."""


class Claims:
    """Keeps claims of one issue apart.

    Args:
        place: tells in which queue an issue is.
        me: the number of the token's account.
    """

    def __init__(
        self, project: Project, place: Callable[[Issue], str], me: Callable[[], int]
    ) -> None:
        self._project = project
        self._place = place
        self._me = me
        self._lock = threading.Lock()

    @contextmanager
    def alone(self, task_id: str, source_queue: str) -> Generator[Issue]:
        """Have an issue, as it is now, for oneself among all claims with this token.

        Raises:
            TaskMovedError: it is not in the queue.
            BoardUnavailableError: another process has been at it for some seconds.
        """
        with self._lock:
            award = self._award(task_id, source_queue)
            try:
                issue = self._project.issue(task_id)
                self._check(issue, source_queue)
                yield issue
            finally:
                self._take_back(task_id, award)

    def _check(self, issue: Issue, source_queue: str) -> None:
        actual = self._place(issue)
        if actual != source_queue:
            raise TaskMovedError(issue.id, expected=source_queue, actual=actual)

    def _award(self, task_id: str, source_queue: str) -> int:
        for wait in (*LOOKS, None):
            try:
                return self._awarded(task_id)
            except MissingError:  # GitLab's answer to the second one; or there is no such issue
                self._check(self._project.issue(task_id), source_queue)
                self._remove_left_behind(task_id)
            except AnswerLostError as lost:  # which claims nothing yet
                raise BoardUnavailableError(str(lost)) from lost
            if wait is not None:
                time.sleep(wait)
        raise BoardUnavailableError(
            f"Another process is claiming task {task_id!r}: the emoji {EMOJI!r} of this account "
            "is on the issue. It counts for a minute."
        )

    def _awarded(self, task_id: str) -> int:
        path = self._project.award(task_id)
        row: Json = self._project.client.write("POST", path, {"name": EMOJI})
        return int(row["id"])

    def _remove_left_behind(self, task_id: str) -> None:
        path = self._project.award(task_id)
        for rows in self._project.client.pages(path):
            for row in rows:
                age = self._project.client.now() - datetime.fromisoformat(row["created_at"])
                ours = row.get("name") == EMOJI and row["user"]["id"] == self._me()
                if ours and age > LEFT_BEHIND:
                    self._take_back(task_id, int(row["id"]))

    def _take_back(self, task_id: str, award: int) -> None:
        """Remove an emoji; one that stays is in nobody's way after a minute."""
        try:
            self._project.client.write("DELETE", f"{self._project.award(task_id)}/{award}")
        except BoardError as exc:
            logger.info(
                "The emoji %r was not taken off task %r: %s",
                EMOJI,
                task_id,
                exc,
                extra={"action": "gitlab_emoji_left"},
            )
