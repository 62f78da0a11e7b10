"""The folders of tasks on this host: which there are, and removing those that may go."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from athanore.dispatcher import AgentDispatcher
from athanore.errors import WorkspaceError
from athanore.workspaces.base import FoundWorkspace, WorkspaceProvider


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
            await provider.remove(app.name, folder.task_id, force=force)
        except WorkspaceError as exc:
            yield Removal(folder, str(exc))
        else:
            yield Removal(folder)


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
