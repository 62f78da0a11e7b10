"""The look at an app's open pull requests, by a timer: one of its workers does it at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta

from athanore.runs.kept import pulls
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.services.pull_requests import reactions

logger = logging.getLogger("athanore.worker")

REQUESTS_AN_HOUR = 2500
"""What a forge is asked at most, however many pull requests are open."""

_REQUESTS = 3  # for each pull request of which nothing is new


async def watch_pulls(prefect: RunStore, app: App) -> None:
    """Look at the pull requests again and again; runs until cancelled."""
    pause = app.margins.pulls
    while True:
        await asyncio.sleep(pause.total_seconds() * random.uniform(0.9, 1.1))
        try:
            known = (await app.routes.read(prefect)).values()
            if not any(k.route.reactions or k.route.merged_queue for k in known):
                continue
            pause = await _look(prefect, app, pause)
        except Exception:
            logger.exception(
                "The look at pull requests failed; it is made again.",
                extra={"action": "pulls_not_seen"},
            )


async def _look(prefect: RunStore, app: App, pause: timedelta) -> timedelta:
    """Look, unless another worker has done it meanwhile; returns when to look again."""
    if not await pulls.take_turn(prefect, app.name, app.clock.now(), pause):
        return pause
    count = await reactions.look(prefect, app)
    needed = timedelta(hours=1) * (count * _REQUESTS / REQUESTS_AN_HOUR)
    return max(app.margins.pulls, needed)
