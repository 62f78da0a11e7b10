"""Whether an agent that ended well has left what its route expects, and what can be published."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from athanore.errors import BoardError, ResultRefusedError, WorkspaceError
from athanore.logs import Log
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind, Task
from athanore.routing.outputs import read
from athanore.routing.routes import Route
from athanore.runs.records.outputs import handed_in
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.workspaces.base import PublishesWork, ShowsWork


class Expectation:
    """What one attempt is to leave.

    Args:
        run_log: of the run; commits of all its attempts count.
    """

    def __init__(self, app: App, route: Route, run_log: RunLog, log: Log) -> None:
        self._app = app
        self._route = route
        self._run_log = run_log
        self._log = log
        self._comments = 0

    async def begins(self, task: Task) -> None:
        """Note what there is before the agent starts."""
        match self._route.expects:
            case "comment":
                with suppress(BoardError):
                    self._comments = len((await self._app.board.task(task.id)).comments)
            case "commits":
                await self._note_tip(task)
            case _:
                pass

    async def _note_tip(self, task: Task) -> None:
        """Note where the branch is before the first agent of the run starts.

        A start that is given back may have committed: its number alone says nothing of that.
        """
        book, provider = self._run_log, self._route.workspace
        if book.record.tip or book.attempt > 1 or not isinstance(provider, ShowsWork):
            return
        with suppress(WorkspaceError):  # a folder that an earlier agent broke
            await book.begins_at((await provider.work(self._app.name, task.id)).commit)

    async def judged(self, result: AgentResult, task: Task) -> AgentResult:
        """The result of an attempt whose agent has succeeded: a failure if it has left nothing.

        A board that cannot be read is no fault of the agent: then it has succeeded.

        Raises:
            WorkspaceError: the folder cannot be looked at.
        """
        missing = ""
        try:
            match self._route.expects:
                case "commits":
                    missing = await self._commits(task)
                case "move":
                    missing = await self._moved(task)
                case "comment":
                    missing = await self._commented(task)
                case None:
                    pass
        except BoardError as exc:
            self._log.warning(
                "Whether the agent has left what is expected cannot be seen: %s",
                exc,
                extra={"action": "expectation_unseen"},
            )
        if not missing:
            missing = await self._handed_in()
        if missing:
            fault = Fault(FaultKind.NOTHING_HAPPENED)
            return _failed(result, f"nothing happened: {missing}", fault)
        return result

    async def publishable(self, result: AgentResult, task: Task) -> AgentResult:
        """The result of an attempt whose work has passed: a failure if it cannot be published so.

        Raises:
            WorkspaceError: the folder cannot be looked at.
        """
        provider = self._route.workspace
        if self._route.publish is None or not isinstance(provider, PublishesWork):
            return result
        if wrong := (await provider.work(self._app.name, task.id)).wrong:
            return _failed(result, f"cannot be published: {wrong}", Fault(FaultKind.CHECK))
        return result

    async def _handed_in(self) -> str:
        """Say that no result was handed in, where the route has one; it is kept otherwise."""
        output, book = self._route.output, self._run_log
        if output is None:
            return ""
        found = await handed_in(book.prefect, book.run.id, book.record.starts)
        if found is None:
            return "no result was handed in"
        try:
            await asyncio.to_thread(read, output, found)
        except ResultRefusedError as exc:  # this process has another model than the task API
            return str(exc).rstrip(".")
        book.output = found
        return ""

    async def _commits(self, task: Task) -> str:
        provider = self._route.workspace
        if not isinstance(provider, PublishesWork):
            return ""
        if (tip := self._run_log.record.tip) and isinstance(provider, ShowsWork):
            work = await provider.work(self._app.name, task.id, since=tip)
            some = work.is_new
        else:  # a provider that cannot say it, or a run that an earlier version began
            work = await provider.work(self._app.name, task.id)
            some = work.is_new or (self._run_log.attempt > 1 and bool(work.subjects))
        if some:
            return ""
        branch = provider.preview(self._app.name, task).branch
        return f"no commit on the branch {branch!r}"

    async def _moved(self, task: Task) -> str:
        queue = (await self._app.board.task(task.id)).queue_name
        here = self._route.in_progress_queue
        return f"the task is still in {here!r}" if queue == here else ""

    async def _commented(self, task: Task) -> str:
        comments = (await self._app.board.task(task.id)).comments
        return "" if len(comments) > self._comments else "no comment on the task"


def _failed(result: AgentResult, reason: str, fault: Fault) -> AgentResult:
    return replace(result, outcome=AgentOutcome.FAILED, reason=reason, fault=fault)
