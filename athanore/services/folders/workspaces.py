"""The folders of tasks on this host: which there are, removing those that may go, tidying up."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from athanore.dispatcher import AgentDispatcher
from athanore.errors import BoardError, NotFoundError, WorkspaceError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, Task
from athanore.runtime.apps import App
from athanore.services.folders.folder_commands import run_command
from athanore.workspaces.base import (
    EndsWork,
    FoundWorkspace,
    SharesWork,
    TidiesUp,
    Workspace,
    WorkspaceProvider,
    WorkspaceRequest,
)

logger = logging.getLogger("athanore.worker")


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of the wish to remove a folder.

    Attributes:
        refused: why it could not be removed; "" if it was.
    """

    folder: FoundWorkspace
    refused: str = ""


async def folders(app: AgentDispatcher) -> list[FoundWorkspace]:
    """The folders of an app's tasks on this host."""
    return [folder async for _, folder in _found(app)]


async def clean(
    app: AgentDispatcher, *, force: bool = False, dry_run: bool = False
) -> AsyncGenerator[Removal]:
    """Remove the folders that may go, and tell of each when that is done.

    Args:
        force: also those that are kept: they were used lately, or have work that is nowhere else;
            but never one that an attempt has.
        dry_run: remove nothing, and tell what would be removed.
    """
    async for provider, folder in _found(app):
        if folder.in_use or (folder.kept and not force):
            continue
        if dry_run:
            yield Removal(folder)
            continue
        try:
            task = Task(folder.task_id, folder.task_name, "")
            await provider.remove(removal_request(app, provider, task), force=force)
        except WorkspaceError as exc:
            yield Removal(folder, str(exc))
        else:
            yield Removal(folder)


async def finish(app: AgentDispatcher, provider: EndsWork, task: Task) -> None:
    """Remove the folder of a task that is done with; it stays where something is only there."""
    try:
        await provider.finish(removal_request(app, provider, task))
    except WorkspaceError as exc:
        logger.info("%s", exc, extra={"action": "workspace_not_removed"})


async def tidy(app: AgentDispatcher) -> None:
    """Have providers tidy up what they keep beside folders."""
    for provider in _providers(app):
        if isinstance(provider, TidiesUp):
            try:
                await provider.tidy()
            except WorkspaceError as exc:
                logger.warning("%s %s", exc, exc.output, extra={"action": "workspaces_not_tidied"})


async def reconcile(app: App) -> None:
    """Have providers share what this host had not shared, and tell people where hosts differ."""

    async def tell(task_id: str, text: str) -> None:
        logger.warning("Task %s: %s", task_id, text, extra={"action": "hosts_differ"})
        with suppress(NotFoundError):  # nobody is interested any more
            await app.board.comment(task_id, app.redactor.text(text))

    for provider in _providers(app.dispatcher):
        if isinstance(provider, SharesWork):
            try:
                await provider.reconcile(app.name, tell)
            except (WorkspaceError, BoardError) as exc:
                logger.warning("%s", exc, extra={"action": "workspaces_not_shared"})


def removal_request(app: AgentDispatcher, provider: object, task: Task) -> WorkspaceRequest:
    """Ask for a removal, whose commands are run as those of a route with the provider are."""

    async def run(words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
        routes = list(app.routes.values())
        route = next((r for r in routes if r.workspace is provider), next(iter(routes), None))
        if route is None:
            return AgentResult(AgentOutcome.FAILED, "the app has no route", retryable=False)
        return await run_command(
            app,
            route,
            task,
            words,
            workspace=Workspace(folder),
            cwd=folder,
            timeout=timeout,
            emit=heard,
        )

    def heard(event: AgentEvent) -> None:
        logger.info("%s", event.data.get("text", ""), extra={"action": "workspace_command"})

    def say(line: str) -> None:
        logger.info("%s", line, extra={"action": "workspace"})

    return WorkspaceRequest(app.name, task, run, say)


async def _found(
    app: AgentDispatcher,
) -> AsyncGenerator[tuple[WorkspaceProvider, FoundWorkspace]]:
    seen: set[str] = set()
    for provider in _providers(app):
        for folder in await provider.find(app.name):
            if str(folder.path) not in seen:  # two routes may name the same repository
                seen.add(str(folder.path))
                yield provider, folder


def _providers(app: AgentDispatcher) -> Iterator[WorkspaceProvider]:
    said = [app.workspace, *(route.workspace for route in app.routes.values())]
    for provider in {id(p): p for p in said}.values():
        if provider is not None:
            yield provider
