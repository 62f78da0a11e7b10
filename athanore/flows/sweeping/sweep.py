"""Looking after an app's runs by a timer: once for all its routes, whatever their polls do."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from athanore import names
from athanore.errors import (
    AthanoreError,
    BoardError,
    BoardUnavailableError,
    DispatchError,
    NotFoundError,
    RouteError,
)
from athanore.flows.sweeping import open_questions, owed
from athanore.flows.sweeping.gone import Ending, as_recorded, last_known, waiting
from athanore.flows.sweeping.lost import LostWorkers, observe
from athanore.flows.sweeping.recovery import Recovery
from athanore.models import Task
from athanore.runs import store
from athanore.runs.capacity import fleet, pausing
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes
from athanore.services import scheduling

logger = logging.getLogger("athanore.worker")

_EVERY = 15.0
_AT_MOST_EVERY = 1.0
_AT_LEAST_EVERY = 60.0
_SETTLED_FOR = 300.0
_POLLS_EVERY = 30.0
_BUSY = (StateType.PENDING, *store.WORKING)


class Sweep:
    """Looks after the runs of an app every 15 s, and when somebody asks for it.

    More often where a route is polled more often, or workers count as lost soon. Where more than
    four workers do so each looks at all runs less often, about as often together as four, but once
    a minute. In between it looks at what only this process can see to: see `watch`.
    """

    def __init__(self, prefect: RunStore, app: App) -> None:
        self._prefect = prefect
        self._app = app
        self._asked = asyncio.Event()
        self._sharing = 1
        self._due = 0.0

    def sharing(self) -> int:
        """How many workers of polls there were at the last look."""
        return self._sharing

    def soon(self) -> None:
        """Have it look within about a second: a task was taken from the queue of its agent."""
        self._asked.set()

    async def sweep(self) -> None:
        """Look again and again; runs until cancelled."""
        self._app.noted.is_swept = True
        while True:
            is_asked = self._asked.is_set()
            self._asked.clear()
            try:
                if is_asked or self._app.noted.monotonic() >= self._due:
                    await self.look()
                else:
                    await self.watch()
            except AthanoreError as exc:
                logger.warning(
                    "The look after runs failed (%s); it is made again.",
                    exc,
                    extra={"action": "sweep_failed"},
                )
            except Exception:
                logger.exception(
                    "The look after runs failed; it is made again.",
                    extra={"action": "sweep_failed"},
                )
            # Several workers do not look at the same time for ever.
            pause = self._alone() * random.uniform(0.8, 1.0)
            await asyncio.sleep(min(pause, _AT_MOST_EVERY))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause - _AT_MOST_EVERY, 0)):
                    await self._asked.wait()

    async def look(self) -> None:
        """Look at all runs, and at how many workers do so."""
        await look_once(self._prefect, self._app)
        pool = names.polls_pool(self._app.name)
        self._sharing = len(await fleet.living(self._prefect, pool))
        rest = (self.interval() - self._alone()) * random.uniform(0.8, 1.0)
        self._due = self._app.noted.monotonic() + rest

    async def watch(self) -> None:
        """Look at what each worker judges by what it has itself seen, and at its own agents.

        The heartbeats of the others: a long time without a look counts as a minute of silence. And
        how long agents here wait for people: their time stands still.
        """
        for pool in (names.agents_pool(self._app.name), names.polls_pool(self._app.name)):
            await observe(self._prefect, self._app, pool)
        await open_questions.keep_time(self._prefect, self._app)

    def _alone(self) -> float:
        """Seconds from one look to the next of a worker that has few others."""
        routes = self._app.routes.remembered().values()
        polled = min((k.route.poll_interval.total_seconds() for k in routes), default=_EVERY)
        return min(_EVERY, polled, self._app.dispatcher.settings.worker_lost_after / 8)

    def interval(self) -> float:
        """Seconds from one look of this worker at all runs to its next, about."""
        return fleet.interval(self._alone(), self._sharing, _AT_LEAST_EVERY)


async def look_once(prefect: RunStore, app: App) -> None:
    """Put right what no flow and no hook could, for all runs of an app and their tasks."""
    routes = await app.routes.read(prefect)
    # The board first, then the runs: a task of a run that is at work afterwards was not let go.
    tasks, missing = await _tasks(app, routes)
    active = await store.find_runs(prefect, app.name, _BUSY)
    by_route: dict[str, list[FlowRun]] = defaultdict(list)
    for run in active:
        by_route[store.route_name(run)].append(run)
    places = None if tasks is None else {t.id: t.queue_name for t in tasks}
    for name, of_route in by_route.items():
        with _apart(app, name):
            recovery = await _recovery(prefect, app, of_route[0])
            if not isinstance(recovery, Ending):
                await _look_at_active(recovery, of_route, places, missing)
                continue
            for run in of_route:  # each may have begun with other options
                recovery = Ending(prefect, app, as_recorded(app, run), logger)
                await _look_at_active(recovery, [run], places, missing)
    for run, task_id in await waiting(prefect, app):
        with _apart(app, store.route_name(run)):
            recovery = Ending(prefect, app, as_recorded(app, run), logger)
            try:
                await recovery.end_waiting(run, task_id)
            finally:
                recovery.tell()
    if tasks is not None:
        held = {names.task_of(r.tags) for r in active}
        await _look_at_idle(prefect, app, routes, [t for t in tasks if t.id not in held])
    await open_questions.look_after(prefect, app, places or {})
    if app.noted.monotonic() >= app.noted.next_look:
        app.noted.next_look = app.noted.monotonic() + _POLLS_EVERY
        await _look_at_owed(prefect, app, routes)
        await _look_at_polls(prefect, app, routes)


async def _recovery(prefect: RunStore, app: App, run: FlowRun) -> Recovery:
    """What looks after a run: by its route, or by what the run keeps of one that is gone.

    Raises:
        RouteError: another worker has the route.
    """
    try:
        route = await app.routes.find(prefect, run.parameters)
    except RouteError:
        last = await last_known(prefect, app, run)
        if last is None:
            raise
        return Ending(prefect, app, last, logger)
    return Recovery(prefect, app, route, logger)


async def _look_at_active(
    recovery: Recovery,
    runs: Sequence[FlowRun],
    places: dict[str, str] | None,
    missing: Collection[str],
) -> None:
    """Look after runs of one route that a worker has, or had.

    Args:
        places: the queues of tasks; None if the board cannot be read now.
        missing: queues that the board has no more.
    """
    try:
        gone = await recovery.look_for_lost(runs)
        if places is not None:
            await recovery.look_for_moved([r for r in runs if r.id not in gone], places, missing)
    finally:
        recovery.tell()


async def _tasks(app: App, routes: Routes) -> tuple[list[Task] | None, frozenset[str]]:
    """The tasks in the queues of all routes, and which of the queues the board has no more.

    No tasks, but None, if it cannot be read now.
    """
    queues = [
        q
        for k in routes.values()
        for q in (k.route.queue_name, k.route.in_progress_queue, k.route.waiting_queue)
        if q is not None
    ]
    try:
        tasks, missing = await app.board.tasks_there(queues)
    except BoardError as exc:  # polls say so, where people see it
        logger.debug("Tasks of %r are looked after when the board is back: %s", app.name, exc)
        return None, frozenset()
    if missing - app.noted.missing_queues:
        logger.error(
            "The board has no queue %s any more. Tasks there are not looked after until it has one "
            "again, or the route names another.",
            " and none ".join(map(repr, sorted(missing))),
            extra={"action": "queue_missing"},
        )
    app.noted.missing_queues = missing
    return tasks, missing


async def _look_at_idle(prefect: RunStore, app: App, routes: Routes, tasks: Sequence[Task]) -> None:
    """Finish what is due to tasks in progress, or put aside to wait, that have no active run."""
    now, settled = app.noted.monotonic(), app.noted.settled
    places = {
        q for k in routes.values() for q in (k.route.in_progress_queue, k.route.waiting_queue)
    }
    idle = {t.id: t for t in tasks if t.queue_name in places}
    for task_id, since in list(settled.items()):
        if task_id not in idle or now - since > _SETTLED_FOR:
            del settled[task_id]
    unknown = [task_id for task_id in idle if task_id not in settled]
    last = await store.last_finished_runs(prefect, app.name, unknown)
    waiting = await store.active_by_task(prefect, app.name, unknown) if unknown else {}
    for task_id in unknown:
        run = last.get(task_id)
        if task_id in waiting:
            continue
        if run is None or run.state is None or record_of(run).is_closed:
            settled[task_id] = now
            continue
        with _apart(app, store.route_name(run)):
            try:
                recovery = await _recovery(prefect, app, run)
            except RouteError:
                settled[task_id] = now  # no worker here has it
                continue
            if not recovery.has_put(run, idle[task_id].queue_name):
                settled[task_id] = now
                continue
            try:
                if await recovery.finish(run, task_id):
                    settled[task_id] = now
            finally:
                recovery.tell()


async def _look_at_owed(prefect: RunStore, app: App, routes: Routes) -> None:
    """Finish what is due to tasks that are in no queue that a route uses now."""
    for run, task_id in await owed.find(prefect, app, routes):
        with _apart(app, store.route_name(run)):
            try:
                recovery = await _recovery(prefect, app, run)
            except RouteError:
                continue  # another worker has the route
            with suppress(NotFoundError):
                task = await app.board.task(task_id)
                if recovery.has_put(run, task.queue_name):
                    try:
                        if not await recovery.finish(run, task_id):
                            continue
                    finally:
                        recovery.tell()
            del app.noted.owing[run.id]


async def _look_at_polls(prefect: RunStore, app: App, routes: Routes) -> None:
    """Put right what is left of pauses, and of polls and scheduled work whose worker is gone."""
    for name, known in routes.items():
        with suppress(DispatchError):
            await pausing.see_to_own(
                prefect,
                app.name,
                name,
                app.clock.now(),
                app.margins.pausing,
                was=known.route.was,
                host=known.route.host,
            )
    await end_lost_polls(prefect, app)
    tags = [names.app_tag(app.name), names.SCHEDULE_TAG]
    query = RunQuery(tags=tags, states=_BUSY)
    scheduled = await prefect.find(query) if app.dispatcher.schedules else []
    for run, _ in await LostWorkers(prefect, app).find_lost(scheduled):
        if await _is_as_it_was(prefect, run):
            await scheduling.let_lost_go_on(prefect, run, app.clock.now())


async def end_lost_polls(prefect: RunStore, app: App) -> None:
    """End polls that say that they run, and whose worker is gone.

    Where Prefect lets one poll of a route run at a time, a lost one keeps all others away.
    """
    polls = await store.find_polls(prefect, app.name, None, _BUSY)
    for poll, _ in await LostWorkers(prefect, app).find_lost(polls):
        if await _is_as_it_was(prefect, poll):
            crashed = Crashed(message="The worker was lost during this poll.")
            await prefect.propose(poll.id, crashed)


async def _is_as_it_was(prefect: RunStore, run: FlowRun) -> bool:
    """Tell whether a run is in the state in which it was found: others may have seen to it."""
    now = await prefect.read_run(run.id)
    return now.state is not None and run.state is not None and now.state.id == run.state.id


@contextmanager
def _apart(app: App, route: str) -> Generator[None]:
    """See to one route or task: what the board refuses there is said once, and concerns no other.

    What is not done is tried again by the next sweep.
    """
    try:
        yield
    except BoardUnavailableError as exc:
        logger.debug("Runs of %r are looked after when the board is back: %s", route, exc)
    except RouteError as exc:  # while an app is upgraded, another worker has it
        if _is_new(app, route, exc):
            logger.warning(
                "Runs of %r are not looked after here: %s",
                route,
                exc,
                extra={"action": "sweep_failed"},
            )
    except BoardError as exc:
        if _is_new(app, route, exc):
            logger.error(
                "Runs of %r cannot be looked after: %s",
                route,
                exc,
                extra={"action": "sweep_failed"},
            )


def _is_new(app: App, route: str, error: Exception) -> bool:
    """Tell whether this is another reason than the one that was said last."""
    known, text = app.noted.not_looked_after.get(route), str(error)
    app.noted.not_looked_after[route] = text
    return text != known
