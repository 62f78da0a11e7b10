"""What each agent said last, for the board page: kept while somebody looks at it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from cachetools import TTLCache
from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.api.events.event_log import AgentEventModel, newest_events
from athanore.api.events.live import EVERY_TASK, LiveEvents
from athanore.api.prefect.link import PrefectLink
from athanore.api.problems import Problem
from athanore.errors import PrefectUnavailableError
from athanore.models import EventKind
from athanore.runtime.background import tell_failure

logger = logging.getLogger("athanore.api")

_MAX_CHARS = 200
_LISTEN_SECONDS = 60.0
_FIRST_LOOK = 20
_AT_ONCE = 4


class LastLines:
    """Follows the events of all tasks for a minute after each look.

    Args:
        app: the app's name.
    """

    def __init__(self, app: str, live: LiveEvents, prefect: PrefectLink) -> None:
        self._app = app
        self._live = live
        self._prefect = prefect
        self._lines: TTLCache[str, str] = TTLCache(2000, ttl=86_400)
        self._looked_up: TTLCache[UUID, bool] = TTLCache(2000, ttl=86_400)
        self._look_ups: dict[UUID, asyncio.Task[None]] = {}
        self._few_at_once = asyncio.Semaphore(_AT_ONCE)
        self._until = 0.0
        self._listener: asyncio.Task[None] | None = None

    def of(self, working: Sequence[FlowRun]) -> dict[str, str]:
        """Return the last line of each run's agent by task id, where there is one.

        What was said before anybody listened is looked up meanwhile, and told by a later call.
        """
        self._until = asyncio.get_running_loop().time() + _LISTEN_SECONDS
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="Agents' last lines")
            self._listener.add_done_callback(tell_failure)
        found: dict[str, str] = {}
        for run in working:
            task_id = names.task_of(run.tags)
            if task_id is None:
                continue
            if run.id not in self._looked_up and run.id not in self._look_ups:
                self._look_ups[run.id] = asyncio.create_task(self._look_up(run, task_id))
            if line := self._lines.get(task_id):
                found[task_id] = line
        return found

    async def close(self) -> None:
        """Stop listening and looking things up."""
        tasks = [*self._look_ups.values(), *([self._listener] if self._listener else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, run: FlowRun, task_id: str) -> None:
        """Read what was said before anybody listened."""
        try:
            async with self._few_at_once:
                await self._read_newest(run, task_id)
        except PrefectUnavailableError:
            pass  # a later call tries again
        except Exception:
            logger.exception(
                "What the agent of task %r said last cannot be read.",
                task_id,
                extra={"action": "last_line_not_read"},
            )
        finally:
            del self._look_ups[run.id]

    async def _read_newest(self, run: FlowRun, task_id: str) -> None:
        if run.created is None:
            return
        resource = names.task_resource(self._app, task_id)
        since = run.created - timedelta(seconds=1)
        events = await newest_events(self._prefect, resource, since, _FIRST_LOOK)
        self._looked_up[run.id] = True
        if not self._lines.get(task_id):
            for event in events:
                self._note(task_id, event)

    async def _listen(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async with self._live.subscribe(EVERY_TASK) as events:
                while clock() < self._until and not events.closed:
                    event = await events.next(self._until - clock())
                    if event is not None and event.task_id is not None:
                        self._note(event.task_id, event.model)
        except Problem:
            return  # too many read already: the next look tries again
        # What is said from now on is missed.
        self._looked_up.clear()

    def _note(self, task_id: str, event: AgentEventModel) -> None:
        if event.kind == EventKind.CLAIMED:
            self._lines.pop(task_id, None)
        elif (line := last_line(event.kind, event.data)) is not None:
            self._lines[task_id] = line


def last_line(kind: str, data: Mapping[str, Any]) -> str | None:
    """The last thing that an event says, on one short line; None if it says nothing."""
    if kind == EventKind.TOOL_USE:
        return f"Uses {data.get('name', 'a tool')}"[:_MAX_CHARS]
    if kind == EventKind.PROGRESS:
        text, percent = " ".join(str(data.get("text", "")).split()), data.get("percent")
        if isinstance(percent, int | float):
            text = f"{percent:g} %{text and ': '}{text}"
        return text[:_MAX_CHARS] or None
    lines = data.get("lines")
    if kind != EventKind.OUTPUT or not isinstance(lines, list):
        return None
    for line in reversed(cast(list[dict[str, Any]], lines)):
        text = " ".join(str(line.get("text", "")).split())
        if text:
            return text[:_MAX_CHARS]
    return None
