"""The folder that an attempt works in: opened before the agent starts, closed when it has ended.

What is run there beside the agent, to make the folder ready and to check the work, is run as the
agent is.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from athanore.errors import BoardError, WorkspaceError, reason
from athanore.flows.attempts.transcript import Transcript
from athanore.flows.retry import PatientBoard
from athanore.logs import Log
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind, Task
from athanore.routing.routes import Route
from athanore.runtime.apps import App
from athanore.seen_through import seen_through
from athanore.services.folders.folder_commands import run_command
from athanore.workspaces.base import Workspace, WorkspaceProvider, WorkspaceRequest

_CLOSING = timedelta(minutes=2)
"""How long a folder may take to be closed; what it did not get to is done by the next attempt."""


class WorkingFolder:
    """The folder of one attempt, where its route has a workspace.

    Attributes:
        workspace: what the agent is given; None if it starts in the route's `cwd`, or ours.
    """

    def __init__(self, app: App, route: Route, log: Log) -> None:
        self.workspace: Workspace | None = None
        self._app = app
        self._route = route
        self._log = log

    @property
    def _provider(self) -> WorkspaceProvider | None:
        return self._route.workspace

    @property
    def path(self) -> Path | None:
        """Where the agent starts."""
        return self.workspace.path if self.workspace else self._route.cwd

    async def open(
        self, task: Task, attempt: int, transcript: Transcript, *, renew_base: bool
    ) -> None:
        """Open the folder of a task.

        Args:
            renew_base: the agent needs what the base is now, too.

        Raises:
            WorkspaceError: there is none to be had; the attempt is not the agent's fault.
        """
        provider = self._provider
        if provider is None:
            return

        async def run(words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
            in_it = Workspace(folder)
            return await self._run(words, in_it, timeout, task, attempt, transcript)

        publishes = self._route.publish is not None
        request = WorkspaceRequest(self._app.name, task, run, self._say, renew_base, publishes)
        try:
            self.workspace = await provider.open(request)
        except WorkspaceError:
            raise
        except Exception as exc:  # of a provider that does not keep to the port
            self._log.exception(
                "%s failed.", type(provider).__name__, extra={"action": "workspace_failed"}
            )
            what = f"{type(exc).__name__}: {reason(exc)}"
            raise WorkspaceError(f"{type(provider).__name__} raised {what}") from exc
        self._say(f"The agent works in {self.workspace}.")
        app = self._app
        board = PatientBoard(app.board, app.margins, self._log, app.margins.board)
        for note in self.workspace.notes:
            try:
                await board.say(task.id, app.redactor.text(note))
            except BoardError as exc:
                self._log.warning("No comment: %s", exc, extra={"action": "comment_refused"})

    async def check(
        self, result: AgentResult, task: Task, attempt: int, transcript: Transcript
    ) -> AgentResult:
        """Run the route's `check`; returns the result of an attempt whose agent has succeeded."""
        route = self._route
        for command in route.check:
            self._say(f"Checking: {command}")
            words = shlex.split(command)
            here, timeout = self.workspace, route.check_timeout
            done = await self._run(words, here, timeout, task, attempt, transcript)
            if not done.succeeded:
                return _not_passed(result, command, words, done)
        return result

    async def _run(
        self,
        words: Sequence[str],
        workspace: Workspace | None,
        timeout: timedelta,
        task: Task,
        attempt: int,
        transcript: Transcript,
    ) -> AgentResult:
        """Run a command as an agent is run, without the token."""
        return await run_command(
            self._app.dispatcher,
            self._route,
            task,
            words,
            workspace=workspace,
            cwd=workspace.path if workspace else self._route.cwd,
            timeout=timeout,
            emit=transcript.emit,
            attempt=attempt,
            api_url=self._app.api_url,
        )

    async def close(self, outcome: AgentOutcome | None) -> None:
        """Give the folder back; what is not kept in time is kept by the next attempt."""
        provider, workspace = self._provider, self.workspace
        if provider is None or workspace is None:
            return
        closing = asyncio.ensure_future(self._close(provider, workspace, outcome))
        await seen_through(closing)

    async def _close(
        self, provider: WorkspaceProvider, workspace: Workspace, outcome: AgentOutcome | None
    ) -> None:
        # A run that is cancelled, or a worker that stops, ends here all the same.
        with suppress(asyncio.CancelledError):
            try:
                async with asyncio.timeout(_CLOSING.total_seconds()):
                    for note in await provider.close(workspace, outcome):
                        self._say(note)
            except (WorkspaceError, TimeoutError) as exc:
                self._log.error(
                    "What was left in %s is not kept elsewhere: %s",
                    workspace,
                    str(exc) or "it took too long",
                    extra={"action": "workspace_not_kept"},
                )
            except Exception:  # what came of the attempt counts all the same
                self._log.exception(
                    "%s failed; what was left in %s is not kept elsewhere.",
                    type(provider).__name__,
                    workspace,
                    extra={"action": "workspace_failed"},
                )

    def _say(self, line: str) -> None:
        self._log.info("%s", line, extra={"action": "workspace"})


def _not_passed(
    result: AgentResult, command: str, words: Sequence[str], done: AgentResult
) -> AgentResult:
    """The result of an attempt whose agent has succeeded, and whose work has not."""
    code = done.exit_code
    how = done.reason if code is None or code < 0 else f"exit {code}"
    # A program of the folder may be missing because of the agent; of the others it has none.
    missing = done.has_fault(FaultKind.ENVIRONMENT) and "/" not in words[0]
    return replace(
        result,
        outcome=AgentOutcome.FAILED,
        reason=f"check failed: {command} ({how})",
        output_tail=done.output_tail,
        fault=done.fault if missing else Fault(FaultKind.CHECK),
    )
