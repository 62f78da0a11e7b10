"""One reader's stream of a task's events: from Prefect's database first, then live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from uuid import UUID

from fastapi.responses import StreamingResponse
from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.api.events.event_log import LoggedEvent, read_events
from athanore.api.events.live import EVERY_TASK, Subscription
from athanore.api.events.sequence import WINDOW, Cursor, Progress, Sequencer, earlier_runs
from athanore.api.service import Service
from athanore.errors import PrefectUnavailableError
from athanore.runs import store
from athanore.texts import as_json

KEEP_ALIVE = 15.0
_HEAD = "retry: 2000\n: connected\n\n"
_LOOK_EVERY = 5.0
_LOOK_SOON = 1.0  # when an event is missing, or the run is about to end
_LAG = timedelta(seconds=15)
_DATABASE_LAG = 6.0
_ALREADY = timedelta(seconds=10)
"""How old what a reader of all hears at first may be."""

_FIRST_LOOKS = (1.0, 6.0, 20.0)
"""Seconds after which the database is looked at for what the live stream did not have."""

_TOLD_KEPT = 2000
"""Of how many events it is remembered that a reader of all has them."""

_QUIET_AFTER_LAST_WORD = 2.0
_QUIET_AFTER_RUN = 8.0
_LAST_WORDS = frozenset({"finished", "failed", "cancelled", "dead-lettered"})


class TaskStream:
    """Yields a task's events as server-sent events.

    Args:
        cursor: after which event to go on; None begins with the newest run of the task.
        follow: go on when the run has ended, with the task's next one.
        whole: begin with the oldest of the task's last runs instead.
        agent: the run of the agent that reads; None for people.
    """

    def __init__(
        self,
        service: Service,
        task_id: str,
        cursor: Cursor | None,
        *,
        follow: bool,
        whole: bool = False,
        agent: UUID | None = None,
    ) -> None:
        self._service = service
        self._task_id = task_id
        self._resource = names.task_resource(service.app.name, task_id)
        self._follow = follow
        self._agent = agent
        self._whole = whole
        self._cursor = cursor
        self._sequencer = Sequencer(cursor)
        self._progress = Progress(cursor)
        self._since = service.app.clock.now()
        self._run: FlowRun | None = None
        self._earlier = frozenset[str]()
        self._last_word = False

    async def open(self) -> bool:
        """Find the run to follow; return False if there is nothing more to come.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        known = await self._service.runs.of_task(self._task_id, fresh=True)
        self._run = known.newest
        if not self._whole:
            self._earlier = earlier_runs(known.last, known.newest, self._cursor)
        if self._cursor is not None:
            self._since = self._cursor.at - WINDOW
        elif self._run is not None:
            runs = [self._run, *(known.last if self._whole else ())]
            created = [run.created for run in runs if run.created is not None]
            self._since = min(created, default=self._since) - timedelta(seconds=1)
        if self._follow or self._cursor is None or not _is_over(self._run):
            return True
        probe = Sequencer(self._cursor)
        async for page in read_events(self._service.prefect, self._resource, self._since):
            if any(probe.offer(e, 0) for e in page if self._is_ours(e)):
                return True
        return probe.has_gap

    async def lines(self) -> AsyncGenerator[str]:
        """Yield the stream's text, in whole events.

        Raises:
            Problem: 503, too many read already; before anything else.
        """
        async with self._service.live.subscribe(self._resource, self._agent) as live:
            yield _HEAD
            await live.connected()
            async for event in self._catch_up():
                yield self._text(event)
            async for piece in self._go_on(live):
                yield piece
        if not live.closed:
            yield self._end()

    async def _catch_up(self) -> AsyncGenerator[LoggedEvent]:
        clock = asyncio.get_running_loop().time
        began = self._service.app.clock.now()
        try:
            async for page in read_events(self._service.prefect, self._resource, self._since):
                for event in filter(self._is_ours, page):
                    for due in self._sequencer.offer(event, clock()):
                        yield due
        except PrefectUnavailableError:
            return
        for due in self._sequencer.settle(clock(), began):
            yield due
        self._since = began - _LAG

    async def _go_on(self, live: Subscription) -> AsyncGenerator[str]:
        """Yield what comes until the run is over or the server stops."""
        clock = asyncio.get_running_loop().time
        next_look = clock() + _LOOK_SOON
        spoke = heard = clock()
        look = False
        while not live.closed and not await self._is_done(clock() - heard, look):
            event = await live.next(max(0.05, min(next_look, spoke + KEEP_ALIVE) - clock()))
            if event is not None and not self._is_ours(event):
                event = None
            due = [] if event is None else self._sequencer.offer(event, clock())
            look = live.lost or next_look <= clock()
            if look:
                live.lost = False
                due += [e async for e in self._catch_up()]
                due += self._sequencer.overdue(clock())
                next_look = clock() + _LOOK_EVERY
            for logged in due:
                yield self._text(logged)
            if self._sequencer.has_gap or self._last_word:
                next_look = min(next_look, clock() + _LOOK_SOON)
            if due:
                spoke = heard = clock()
            elif clock() - spoke >= KEEP_ALIVE:
                yield ": keep-alive\n\n"
                spoke = clock()

    async def _is_done(self, quiet: float, look: bool) -> bool:
        """Tell whether the run is over and everything of it was given on.

        Args:
            quiet: seconds since the last event.
            look: it is time to look even though nothing hints at the end.
        """
        if self._follow:
            return False
        if not _is_over(self._run) and self._run is not None:
            if not (look or (self._last_word and quiet < 1)):
                return False
            try:
                async with self._service.prefect.client() as client:
                    self._run = await client.read_flow_run(self._run.id)
            except PrefectUnavailableError:
                return False
        if not _is_over(self._run) or self._sequencer.has_gap:
            return False
        ended = None if self._run is None else self._run.end_time
        if ended is None or self._service.app.clock.now() - ended > _LAG:
            return True
        return quiet > (_QUIET_AFTER_LAST_WORD if self._last_word else _QUIET_AFTER_RUN)

    def _is_ours(self, event: LoggedEvent) -> bool:
        """Tell whether an event is none of a run before the one that the stream began with."""
        return event.model.run_id not in self._earlier

    def _text(self, event: LoggedEvent) -> str:
        self._last_word = event.model.kind in _LAST_WORDS
        head = f"id: {self._progress.passed(event)}\nevent: {event.model.kind}\n"
        return f"{head}data: {event.model.model_dump_json()}\n\n"

    def _end(self) -> str:
        state = None if self._run is None else self._run.state_name
        return f'event: end\ndata: {{"state": "{state or "no run"}"}}\n\n'


def _is_over(run: FlowRun | None) -> bool:
    return run is None or run.state_type in store.FINISHED


async def answer(lines: AsyncGenerator[str]) -> StreamingResponse:
    """The answer with a stream, once it has begun: what refuses it is an answer of its own.

    Raises:
        Problem: 503, too many read already.
    """
    first = await anext(lines)

    async def whole() -> AsyncGenerator[str]:
        async with aclosing(lines):
            yield first
            async for piece in lines:
                yield piece

    return StreamingResponse(
        whole(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def of_all_tasks(service: Service, agent: UUID | None = None) -> AsyncGenerator[str]:
    """Yield what all agents do, as server-sent events, until the reader goes.

    From ten seconds ago on: whoever has just added a task does not miss how its agent begins. What
    the live stream does not have, and what it dropped of a burst, follows when Prefect's database
    has it; it is looked at three times at first, because events get there late.

    Args:
        agent: the run of the agent that reads; None for people.

    Raises:
        Problem: 503, too many read already; before anything else.
    """
    clock = asyncio.get_running_loop().time
    resource = names.task_resource(service.app.name, "")
    begin, told = service.app.clock.now() - _ALREADY, dict[str, None]()
    since = begin
    async with service.live.subscribe(EVERY_TASK, agent) as live:
        yield _HEAD
        await live.connected()
        spoke = clock()
        looks = [spoke + after for after in _FIRST_LOOKS]
        while not live.closed:
            due = min([spoke + KEEP_ALIVE, *looks])
            event = await live.next(max(0.05, due - clock()))
            found = [] if event is None else [event]
            if live.lost:
                live.lost = False
                if not looks:
                    since = max(begin, service.app.clock.now() - _LAG)
                if max(looks, default=0) < clock() + _DATABASE_LAG / 2:
                    looks.append(clock() + _DATABASE_LAG)
            if looks and looks[0] <= clock():
                looks = [look for look in looks if look > clock()]
                try:
                    async for page in read_events(service.prefect, resource, since, of_all=True):
                        found += page
                except PrefectUnavailableError:
                    looks = looks or [clock() + _DATABASE_LAG]
            # The live stream begins with the events of the last minute.
            fresh = [one for one in found if one.model.at >= begin]
            for new in (one for one in fresh if one.model.id not in told):
                told[new.model.id] = None
                said = {"task_id": new.task_id, **new.model.model_dump(mode="json")}
                yield f"event: {new.model.kind}\ndata: {as_json(said)}\n\n"
                spoke = clock()
            for old in [*told][:-_TOLD_KEPT]:
                del told[old]
            if clock() - spoke >= KEEP_ALIVE:
                yield ": keep-alive\n\n"
                spoke = clock()
