"""Running a command in a task's folder as its agent is run, without the token of the task API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast, override

from athanore.agent_adapters.base import AgentJob, RouteView
from athanore.agent_adapters.common.output import Tail
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.dispatcher import AgentDispatcher
from athanore.models import AgentEvent, AgentResult, EventKind, Task
from athanore.routing.routes import Route
from athanore.runtime.secrets.environment import agent_environment, secret_variables
from athanore.workspaces.base import Workspace


class _Command(SubprocessAgentAdapter):
    """Runs a command as an agent is run, but for the prompt."""

    @override
    def build_command(self, job: AgentJob) -> list[str]:
        return list(job.command)


async def run_command(
    app: AgentDispatcher,
    route: Route,
    task: Task,
    words: Sequence[str],
    *,
    workspace: Workspace | None,
    cwd: Path | None,
    timeout: timedelta,
    emit: Callable[[AgentEvent], None],
    attempt: int = 0,
    api_url: str = "",
) -> AgentResult:
    """Run a command in an agent's environment, supervised as a family.

    Args:
        workspace: what the command is told of the folder.
        cwd: where it starts.
        emit: is given each line that the command puts out.
        attempt: the attempt that it belongs to; 0 if it belongs to none.
    """
    tail = Tail()

    def heard(event: AgentEvent) -> None:
        if event.kind is EventKind.OUTPUT:
            tail.add(str(event.data.get("text", "")))
            emit(event)

    job = AgentJob(
        task=task,
        route=cast(RouteView, route),
        prompt="",
        attempt=attempt,
        timeout=timeout,
        env=agent_environment(
            route,
            task,
            attempt=attempt,
            api_url=api_url,
            secrets=secret_variables(app),
            workspace=workspace,
        ),
        cwd=cwd,
        emit=heard,
        command=tuple(words),
    )
    return replace(await _Command().run(job), output_tail=str(tail))
