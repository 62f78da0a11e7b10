"""A task as the end of its attempt finds it on the board: where it is, and what is done to it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from time import monotonic

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    NotFoundError,
    QueueNotFoundError,
)
from athanore.flows.retry import PatientBoard
from athanore.logs import Log
from athanore.models import Task
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App

_REFUSED_PATIENCE = timedelta(seconds=10)
"""How long the board may refuse access that it has refused to an earlier start of the run."""


class TaskPlace:
    """Reads, comments on and moves one task, and waits for a board that is away.

    Args:
        interrupted: a worker that is lost had begun with the end of the attempt.
    """

    def __init__(
        self, app: App, run_log: RunLog, task_id: str, log: Log, *, interrupted: bool
    ) -> None:
        self._app = app
        self._run_log = run_log
        self._task_id = task_id
        self._log = log
        self._interrupted = interrupted
        self._last = "", 0.0  # what the board was asked for, "" for a reading, and when

    @property
    def _board(self) -> PatientBoard:
        access = self._app.margins.board_access
        if self._run_log.run.id in self._app.noted.refused_ends:
            access = min(access, _REFUSED_PATIENCE)  # an earlier start has waited, in its slot
        return PatientBoard(self._app.board, self._app.margins, self._log, access=access)

    def is_taken_of_others(self) -> bool:
        """Whether the board takes of other tasks, meanwhile, what was asked of it last of this."""
        return self._app.board.took_others(self._task_id, *self._last)

    async def queue(self) -> str | None:
        """The task's queue, or None if the task is gone."""
        task = await self.task()
        return None if task is None else task.queue_name

    async def task(self) -> Task | None:
        """The task, or None if it is gone."""
        try:
            read = partial(self._app.board.task, self._task_id)
            self._last = "", monotonic()
            return await self._board.until_it_answers(read, look=self._app.board.queues)
        except NotFoundError:
            return None

    async def comment(self, text: str, tail: str = "") -> None:
        """Comment on the task; one that is gone is passed over.

        Args:
            tail: the agent's last words, which are left out if the board does not take them.
        """
        try:
            # Of an earlier start or a lost worker: the output's tail is known to that only.
            once = self._interrupted or self._run_log.kept() is not None
            self._last = "comment", monotonic()
            await self._board.say(self._task_id, text, tail=tail, once=once)
        except NotFoundError as exc:
            self._log.warning("No comment: %s", exc, extra={"action": "comment_refused"})

    async def has_said(self, text: str) -> bool:
        """Tell whether the newest comment of the task begins with a text."""
        task = await self.task()
        return bool(task and task.comments and task.comments[-1].text.startswith(text))

    async def move(self, queue: str, *, followed: bool = True) -> bool:
        """Move the task; False, with a comment, if the board has no such queue any more."""
        move = partial(self._app.board.move, self._task_id, queue, followed=followed)
        try:
            look = partial(self._app.board.task, self._task_id)
            self._last = f"move to {queue}", monotonic()
            await self._board.until_it_answers(move, look=look)
        except QueueNotFoundError as exc:
            self._log.error("The task stays where it is: %s", exc, extra={"action": "move_refused"})
            await self.comment(
                f"The board has no queue {queue!r} any more; leaving the task where it is."
            )
            return False
        except NotFoundError as exc:
            self._log.warning("No move: %s", exc, extra={"action": "move_refused"})
        except (BoardUnavailableError, BoardAccessError, AnswerLostError):
            raise
        except BoardError as exc:
            self._log.error("The task stays where it is: %s", exc, extra={"action": "move_refused"})
            await self.comment(f"The board refuses to move the task to {queue!r}: {exc}")
            return False
        return True
