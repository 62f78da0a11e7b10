"""Why a task is where it is: what happens with it now, what it waits for, what would change that.

What is said is read from the board and from Prefect when it is asked for; nothing is remembered.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.errors import MatchError, NotFoundError
from athanore.models import Task
from athanore.routes import Route
from athanore.runs import questions, store
from athanore.runs.port import RunStore
from athanore.runs.record import record_of
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import listed, watched, watching
from athanore.runtime.routes.route_registry import Routes, called
from athanore.services import dead_letters
from athanore.services.holds import Holds
from athanore.services.owners import owner_of
from athanore.services.questions import since
from athanore.services.status.machinery import Machinery, look_at_machinery
from athanore.texts import cut

_LINE = 200
"""How many runs are looked through for a task's place in the line."""

_SOON = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is to say of a task.

    Attributes:
        task: as it was just read from the board.
        route: the name of the route whose agent works on it or will; None if there is none.
        reason: what happens now, or what the task waits for, in plain sentences.
        until: when that ends by itself, where it is known.
        commands: commands of `athanore` that would change it.
    """

    task: Task
    route: str | None
    reason: str
    until: datetime | None = None
    commands: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    """What is read once, however many tasks are explained; the rest when it is first needed."""

    prefect: RunStore
    app: App
    routes: Routes
    _machinery: Machinery | None = None
    _working: list[FlowRun] | None = None
    _waiting: list[FlowRun] | None = None
    _polls: dict[str, datetime] | None = None

    async def machinery(self) -> Machinery:
        if self._machinery is None:
            self._machinery = await look_at_machinery(self.prefect, self.app, self.routes)
        return self._machinery

    async def working(self) -> list[FlowRun]:
        if self._working is None:
            name = self.app.name
            self._working = await store.find_runs(self.prefect, name, store.WORKING, limit=_LINE)
        return self._working

    async def waiting(self) -> list[FlowRun]:
        if self._waiting is None:
            name = self.app.name
            self._waiting = await store.find_runs(self.prefect, name, store.NOT_TAKEN, limit=_LINE)
        return self._waiting

    async def next_poll(self, route: str) -> datetime | None:
        if self._polls is None:
            self._polls = {}
            scheduled = (StateType.SCHEDULED,)
            for poll in await store.find_polls(self.prefect, self.app.name, None, scheduled):
                name, due = store.route_name(poll), poll.next_scheduled_start_time
                if due is not None:
                    self._polls[name] = min(due, self._polls.get(name, due))
        return self._polls.get(route)


async def why_waiting(prefect: RunStore, app: App, tasks: Sequence[Task]) -> dict[str, Explanation]:
    """Say of many tasks why they wait, by their ids; Prefect is asked once for all of them.

    Tasks at rest, in queues that no route watches and without a run, are not in it.

    Args:
        tasks: as they were just read from the board.

    Raises:
        BoardError: the board does not answer.
    """
    routes = await app.routes.read(prefect)
    known, holds = _Known(prefect, app, routes), Holds(app, routes)
    holds.has_read(tasks)
    active = await store.active_runs(prefect, app.name)
    found: dict[str, Explanation] = {}
    for task in tasks:
        run = active.get(task.id)
        if run is None and not watching(routes, task.queue_name):
            continue
        with suppress(NotFoundError):  # it is gone meanwhile
            found[task.id] = await _of(known, holds, task, run)
    return found


async def explain(prefect: RunStore, app: App, task: Task) -> Explanation:
    """Say why a task is where it is.

    Args:
        task: as it was just read from the board.

    Raises:
        BoardError: the board does not answer.
    """
    routes = await app.routes.read(prefect)
    known = _Known(prefect, app, routes)
    run = (await store.active_runs(prefect, app.name, [task.id])).get(task.id)
    if run is None and not watching(routes, task.queue_name):
        last = (await store.last_finished_runs(prefect, app.name, [task.id])).get(task.id)
        return _nobody_watches(prefect, task, routes, last)
    return await _of(known, Holds(app, routes), task, run)


async def _of(known: _Known, holds: Holds, task: Task, run: FlowRun | None) -> Explanation:
    """Say why a task that has a run, or that is in a queue of a route, is where it is."""
    app, routes = known.app, known.routes
    if run is not None and (run.state_type in store.WORKING or run.state_type is StateType.PENDING):
        return _at_work(app, task, run, routes)
    if run is not None:
        return await _waits(known, task, run)
    try:
        route = await owner_of(app, routes, task)
    except MatchError as exc:
        return Explanation(task, None, str(exc))
    if route is None:
        return Explanation(task, None, nobody_takes(task, routes))
    if (hold := await holds.of(route, task)) is not None:
        commands = (
            _command("dispatch", task.id),
            *(_command("explain", b) for b in hold.blockers),
        )
        return Explanation(task, route.name, hold.reason, None, commands)
    return await _will_be_seen(known, task, route)


def _at_work(app: App, task: Task, run: FlowRun, routes: Routes) -> Explanation:
    name, known = store.route_name(run), record_of(run)
    if run.state_type is StateType.CANCELLING:
        said = (run.state.message or "") if run.state else ""
        reason = f"Its agent is being stopped: the run was cancelled{f' ({said})' if said else ''}."
        return Explanation(task, name, reason)
    commands = (_command("logs -f", task.id), _command("cancel", task.id))
    worker = names.short_worker_name(known.worker or "", app.name)
    where = f" on worker {worker}" if worker else ""
    if run.state_type is StateType.PENDING:
        return Explanation(
            task, name, f"A worker{where} is about to start its agent.", None, commands
        )
    found = called(routes, name)
    tries = "" if found is None else f" of {found.route.max_retries + 1}"
    reason = f"An agent works on it{where}: attempt {known.attempt}{tries}."
    return Explanation(task, name, reason, None, commands)


async def _waits(known: _Known, task: Task, run: FlowRun) -> Explanation:
    """A run of the task waits: for its time, its route, a worker, or a slot."""
    app, routes, name = known.app, known.routes, store.route_name(run)
    found = called(routes, name)
    name = name if found is None else found.route.name
    if (question_id := questions.waits_for(run)) is not None:
        return await _asks(known.prefect, app, task, name, run, question_id)
    if run.state_type is StateType.PAUSED:
        said = "Its run was suspended or paused in Prefect, and goes on when it is resumed there."
        return Explanation(task, name, said, None, (_command("cancel", task.id),))
    due = run.state.state_details.scheduled_time if run.state else None
    if due is not None and due > app.clock.now() + _SOON:
        reason = "Its run is not due yet."
        if run.state_name == PrefectState.AWAITING_RETRY:
            reason = f"Attempt {record_of(run).attempt + 1} is due later"
            said = (run.state.message or "").partition("\n")[0] if run.state else ""
            reason += f": {said.rstrip('.')}." if said else "."
        return Explanation(task, name, reason, due, (_command("cancel", task.id),))
    machinery = await known.machinery()
    if "agents" in machinery.paused.get(name, ()):
        return Explanation(task, name, _paused(name, machinery), None, _resume(name))
    if not machinery.workers:
        reason = "Its run is due, but no worker of the app is online."
        return Explanation(task, name, reason, None, ("athanore up", "athanore worker"))
    if name in machinery.unserved:
        why, mend = machinery.unserved[name]
        return Explanation(task, name, f"Its run is due. {why}", None, (mend, "athanore workers"))
    own = None if found is None else found.route.max_concurrent
    return Explanation(task, name, await _line(known, run, own, machinery.limit))


async def _asks(
    prefect: RunStore, app: App, task: Task, route: str, run: FlowRun, question_id: str
) -> Explanation:
    """A run of the task waits for a person's answer."""
    found = await questions.of_run(prefect, run.id)
    question = next((q for q in found if q.id == question_id), None)
    if question is None or question.ending is not None:
        return Explanation(task, route, "Its question is answered: it goes on in a moment.")
    if question.is_approval:
        reason = f"Waits for an approval since {since(question, app.clock.now())}: {question.text}"
        commands = (_command("approve", task.id), _command("reject", task.id))
        return Explanation(task, route, reason, None, commands)
    reason = f"Question open since {since(question, app.clock.now())}: {cut(question.text, 300)}"
    commands = (f"athanore answer {question.id} TEXT", _command("cancel", task.id))
    return Explanation(task, route, reason, question.expires_at, commands)


async def _line(known: _Known, run: FlowRun, route_limit: int | None, limit: int | None) -> str:
    """What a run that is due waits for: slots, and the runs of its route that are before it."""
    name = store.route_name(run)
    working = await known.working()
    beside = sum(store.route_name(r) == name for r in working)
    if route_limit is not None and beside >= route_limit:
        busy = f"All {route_limit} agents of the route are at work"
    elif limit is not None and len(working) >= limit:
        busy = f"All {limit} agents of the app are at work"
    else:
        return "Its run is due: a worker takes it in a moment."
    waiting = await known.waiting()
    line = [r.id for r in waiting if store.route_name(r) == name]
    place = f"number {line.index(run.id) + 1}" if run.id in line else f"after {len(line)} others"
    return f"{busy}; it is {place} in the line of its route."


async def _will_be_seen(known: _Known, task: Task, route: Route) -> Explanation:
    """No run of the task yet: a poll of its route makes one."""
    name, machinery = route.name, await known.machinery()
    dispatch = (_command("dispatch", task.id),)
    if name not in machinery.deployed:
        reason = f"Route {name!r} takes it, but is not deployed."
        return Explanation(task, name, reason, None, ("athanore up", "athanore deploy"))
    if machinery.paused.get(name):
        return Explanation(task, name, _paused(name, machinery), None, _resume(name))
    if not machinery.workers:
        reason = f"Route {name!r} takes it, but no worker of the app is online."
        return Explanation(task, name, reason, None, ("athanore up", "athanore worker"))
    if name in machinery.unserved:
        why, mend = machinery.unserved[name]
        reason = f"Route {name!r} takes it. {why}"
        return Explanation(task, name, reason, None, (mend, "athanore workers"))
    due = await known.next_poll(name)
    reason = f"The next poll of route {name!r} finds it."
    return Explanation(task, name, reason, due, dispatch)


def _paused(name: str, machinery: Machinery) -> str:
    why = machinery.pause_reasons.get(name)
    return f"Route {name!r} is paused" + (f": {why.rstrip('.')}." if why else ".")


def _resume(name: str) -> tuple[str, ...]:
    return (_command("resume", name),)


def _nobody_watches(
    prefect: RunStore, task: Task, routes: Routes, last: FlowRun | None
) -> Explanation:
    """A task in a queue that is no route's: given up, done, left in progress, or never ours."""
    if task.queue_name in dead_letters.places(routes):
        letter = dead_letters.dead_letter(prefect, routes, task, last)
        if letter is not None:
            reason = f"It was given up: {letter.reason.rstrip('.')}."
            return Explanation(task, letter.route, reason, None, (_command("requeue", task.id),))
    reason = f"No route watches {task.queue_name!r} (watched: {listed(watched(routes))})."
    if last is None or last.state is None:
        return Explanation(task, None, reason)
    said = (last.state.message or "").partition("\n")[0].rstrip(".")
    reason = f"Its last run ended as {last.state.name}{f' ({said})' if said else ''}. " + reason
    commands: tuple[str, ...] = ()
    if any(k.route.in_progress_queue == task.queue_name for k in routes.values()):
        commands = (_command("requeue", task.id), _command("move", task.id, "QUEUE"))
    return Explanation(task, store.route_name(last), reason, None, commands)


def nobody_takes(task: Task, routes: Routes) -> str:
    """Say of each route of the queue why it does not take the task."""
    whys = [
        f"{k.route.name!r} {_refusal(k.route, task)}" for k in watching(routes, task.queue_name)
    ]
    return f"No route of {task.queue_name!r} takes it: {'; '.join(whys)}."


def _refusal(route: Route, task: Task) -> str:
    if missing := sorted(set(route.labels) - set(task.labels)):
        return f"wants label {listed(missing)}"
    if unwanted := sorted(set(route.without_labels) & set(task.labels)):
        return f"takes none with label {listed(unwanted)}"
    if route.assignees and not set(route.assignees) & set(task.assignees):
        return f"wants it assigned to {' or '.join(map(repr, route.assignees))}"
    return "says no by its match="


def _command(verb: str, *words: str) -> str:
    return f"athanore {verb} {shlex.join(words)}"
