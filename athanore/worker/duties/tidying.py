"""Removing the folders of tasks that nobody uses any more, and packing what they leave, on the
host of a worker of agents."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from athanore.dispatcher import AgentDispatcher
from athanore.runtime.apps import App
from athanore.services.folders import workspaces

logger = logging.getLogger("athanore.worker")

_EVERY = timedelta(hours=1)


async def tidy(app: App) -> None:
    """Share what other hosts lack, and remove the folders of an app that may go, every hour; runs
    until cancelled."""
    while True:
        await workspaces.reconcile(app)
        await tidy_once(app.dispatcher)
        await workspaces.tidy(app.dispatcher)
        await asyncio.sleep(_EVERY.total_seconds())


async def tidy_once(app: AgentDispatcher) -> None:
    """Remove the folders of an app that may go."""
    async for removal in workspaces.clean(app):
        if removal.refused:
            logger.warning("%s", removal.refused, extra={"action": "workspace_not_removed"})
        else:
            logger.info(
                "Removed %s: nobody has used it since %s UTC.",
                removal.folder.path,
                f"{removal.folder.used_at:%Y-%m-%d %H:%M}",
                extra={"action": "workspace_removed"},
            )
