"""Why a task waits, in words: made here for the page, the commands, the API and the polls alike.

What Prefect says of all tasks is read before (`read`), however many they are, and kept by who shows
it often. What is said has no times in it that go on by themselves, so that it stays the same text
while nothing changes; `until` is a moment.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.errors import MatchError, NotFoundError
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import open_runs, store
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.open_runs import OpenRuns
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import listed, needs, watching
from athanore.runtime.routes.route_registry import Routes, called
from athanore.services.holds import Holds
from athanore.services.owners import owner_of
from athanore.services.people.questions import first_line, since
from athanore.services.status.machinery import Machinery, look_at_machinery
from athanore.services.status.next_polls import next_poll
from athanore.texts import cut

_SOON = timedelta(seconds=1)
_TAKEN_SOON = "Its run is due: a worker takes it in a moment."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is to say of a task.

    Attributes:
        route: the name of the route whose agent works on it or will; None if there is none.
        reason: what happens now, or what the task waits for, in plain sentences.
        until: when that ends by itself, where it is known.
        commands: commands that would change it.
        waits: no agent works on it.
        held: a route's `match` fails on it, and nobody knows whose it is.
    """

    route: str | None
    reason: str
    until: datetime | None = None
    commands: tuple[str, ...] = ()
    waits: bool = True
    held: bool = False


@dataclass(slots=True)
class Known:
    """What was read of an app, for the reasons of any number of its tasks.

    Attributes:
        runs: those that have not ended.
        machinery: None where it was not asked for: in a poll, whose route is served.
        at_work: how many agents each route has at work.
        places: the places in the lines of their routes of runs that are due.
        in_line: how many of those each route has.
    """

    app: App
    routes: Routes
    runs: OpenRuns
    machinery: Machinery | None
    at_work: Counter[str] = field(init=False)
    places: dict[UUID, int] = field(init=False)
    in_line: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        now = self.app.clock.now()
        self.at_work = Counter(map(store.route_name, self.runs.working))
        self.places, self.in_line = {}, Counter()
        for run in self.runs.line:
            if run.state_type is StateType.SCHEDULED and _due(run, now) is None:
                self.in_line[store.route_name(run)] += 1
                self.places[run.id] = self.in_line[store.route_name(run)]

    @property
    def limit(self) -> int | None:
        """How many agents the app may have at work."""
        if self.machinery is None:
            return self.app.dispatcher.settings.max_concurrent_agents
        return self.machinery.limit


async def read(prefect: RunStore, app: App, routes: Routes, tasks: Iterable[Task]) -> Known:
    """Read what the reasons of some tasks need; the cost hardly depends on how many they are."""
    runs = await open_runs.of_tasks(prefect, app.name, [t.id for t in tasks])
    return Known(app, routes, runs, await look_at_machinery(prefect, app, routes))


async def of_tasks(
    known: Known, tasks: Iterable[Task], holds: Holds, *, whole: bool
) -> dict[str, Explanation]:
    """Say of many tasks why they wait, by their ids.

    Tasks at rest, in queues that no route watches and without a run, are not in it.

    Args:
        tasks: as they were just read from the board.
        whole: read from the board what the tasks do not say; see `of_task`.

    Raises:
        BoardError: the board does not answer; only where it is asked.
    """
    found: dict[str, Explanation] = {}
    for task in tasks:
        with suppress(NotFoundError):  # it is gone meanwhile
            if (seen := await of_task(known, task, holds, whole=whole)) is not None:
                found[task.id] = seen
    return found


async def of_task(known: Known, task: Task, holds: Holds, *, whole: bool) -> Explanation | None:
    """Say why a task is where it is; None of one at rest.

    Args:
        whole: read from the board what the task does not say: whose it is may depend on that.

    Raises:
        BoardError: the board does not answer; only where it is asked.
    """
    if (run := known.runs.by_task.get(task.id)) is not None:
        return of_run(known, task.id, run)
    rivals = watching(known.routes, task.queue_name)
    if not rivals:
        return None
    if not whole and needs(known.routes, task.queue_name):
        name = rivals[0].route.name
        reason = (
            f"The next poll of {task.queue_name!r} reads it whole, and finds its route by that."
        )
        return Explanation(None, reason, _next_poll(known, name))
    try:
        route = await owner_of(known.app, known.routes, task)
    except MatchError as exc:
        return Explanation(None, str(exc), held=True)
    if route is None:
        return Explanation(None, nobody_takes(task, known.routes))
    holds.has_seen([*known.runs.working, *known.runs.line])
    hold = await holds.of(route, task)
    unread = holds.unread_blockers(route, task)
    if hold is None:
        seen = _will_be_seen(known, task, route)
        return replace(seen, reason=seen.reason + unread)
    blockers = tuple(command("explain", b) for b in hold.blockers)
    commands = (command("dispatch", task.id), *blockers)
    return Explanation(route.name, hold.reason + unread, None, commands)


def of_run(known: Known, task_id: str, run: FlowRun) -> Explanation:
    """Say what a run of a task that has not ended does, or waits for."""
    if run.state_type in store.WORKING or run.state_type is StateType.PENDING:
        return _at_work(known, task_id, run)
    return _waits(known, task_id, run)


def _at_work(known: Known, task_id: str, run: FlowRun) -> Explanation:
    name, record = store.route_name(run), record_of(run)
    if run.state_type is StateType.CANCELLING:
        said = (run.state.message or "") if run.state else ""
        reason = f"Its agent is being stopped: the run was cancelled{f' ({said})' if said else ''}."
        return Explanation(name, reason, waits=False)
    commands = (command("logs -f", task_id), command("cancel", task_id))
    worker = names.short_worker_name(record.worker or "", known.app.name)
    where = f" on worker {worker}" if worker else ""
    if run.state_type is StateType.PENDING:
        reason = f"A worker{where} is about to start its agent."
        return Explanation(name, reason, None, commands)
    for question in known.machinery.asked if known.machinery else ():
        if question.run_id == run.id:
            reason = f"Its agent{where} waits for an answer. {_open_question(known, question)}"
            commands = (f"athanore answer {question.id} TEXT", *commands)
            return Explanation(name, reason, question.expires_at, commands)
    found = called(known.routes, name)
    tries = "" if found is None else f" of {found.route.max_retries + 1}"
    used = [record.used.get((record.starts, kind)) for kind in ("agent", "model")]
    which = f" ({', '.join(map(str, filter(None, used)))})" if any(used) else ""
    reason = f"An agent works on it{where}: attempt {record.attempt}{tries}{which}."
    return Explanation(name, reason, None, commands, waits=False)


def _waits(known: Known, task_id: str, run: FlowRun) -> Explanation:
    """A run of the task waits: for its time, its route, a worker, or a slot."""
    machinery, name = known.machinery, store.route_name(run)
    found = called(known.routes, name)
    name = name if found is None else found.route.name
    if (question_id := questions.waits_for(run)) is not None:
        return _asks(known, task_id, name, run, question_id)
    if run.state_type is StateType.PAUSED:
        said = "Its run was suspended or paused in Prefect, and goes on when it is resumed there."
        return Explanation(name, said, None, (command("cancel", task_id),))
    due, refused = _due(run, known.app.clock.now()), _refused(run)
    if due is not None and not refused:
        reason = "Its run is not due yet."
        if run.state_name == PrefectState.AWAITING_RETRY:
            reason = f"Attempt {record_of(run).attempt + 1} is due later"
            said = (run.state.message or "").partition("\n")[0] if run.state else ""
            reason += f": {said.rstrip('.')}." if said else "."
        return Explanation(name, reason, due, (command("cancel", task_id),))
    if machinery is not None:
        if "agents" in machinery.paused.get(name, ()):
            return _paused(known, name, machinery)
        if not machinery.workers:
            reason = "Its run is due, but no worker of the app is online."
            return Explanation(name, reason, None, ("athanore up", "athanore worker"))
        if name in machinery.unserved:
            why, mend = machinery.unserved[name]
            commands = (mend, "athanore workers")
            return Explanation(name, f"Its run is due. {why}", None, commands)
    own = None if found is None else found.route.max_concurrent
    line = _line(known, run, own)
    if refused and line == _TAKEN_SOON:
        return Explanation(name, refused, due, (command("cancel", task_id),))
    full = None if machinery is None else machinery.full.get(name)
    if full is not None and line == _TAKEN_SOON:
        reason = f"{full}; it is {_place(known, run)}."
        return Explanation(name, reason, None, ("athanore workers",))
    return Explanation(name, line)


def _refused(run: FlowRun) -> str:
    """Why the last start of a run was given back, which waits for another one; "" if it was not."""
    said = (run.state.message or "") if run.state else ""
    return f"{said.rstrip('.')}." if run.state_name == PrefectState.AWAITING_SLOT and said else ""


def _due(run: FlowRun, now: datetime) -> datetime | None:
    """When a run is due, if that is not now."""
    due = run.state.state_details.scheduled_time if run.state else None
    return due if due is not None and due > now + _SOON else None


def _asks(known: Known, task_id: str, route: str, run: FlowRun, question_id: str) -> Explanation:
    """A run of the task waits for a person's answer."""
    if known.machinery is None:
        said = (run.state.message or "") if run.state else ""
        return Explanation(route, f"{said.rstrip('.')}.")
    question = next((q for q in known.machinery.asked if q.id == question_id), None)
    if question is None:
        return Explanation(route, "Its question is answered: it goes on in a moment.")
    reason = _open_question(known, question)
    if question.is_approval:
        which = question.in_commands
        commands = (command("approve", which), command("reject", which))
        return Explanation(route, reason, None, commands)
    commands = (f"athanore answer {question.id} TEXT", command("cancel", task_id))
    return Explanation(route, reason, question.expires_at, commands)


def _open_question(known: Known, question: Question) -> str:
    moment = since(question, known.app.clock.now())
    if question.is_approval:
        return f"Waits for an approval since {moment}: {first_line(question)}"
    return f"Question open since {moment}: {cut(question.text, 300)}"


def _line(known: Known, run: FlowRun, route_limit: int | None) -> str:
    """What a run that is due waits for: slots, and the runs of its route that are before it."""
    name, limit = store.route_name(run), known.limit
    if route_limit is not None and known.at_work[name] >= route_limit:
        busy = f"{_all(route_limit)} of the route {'is' if route_limit == 1 else 'are'} at work"
    elif limit is not None and known.at_work.total() >= limit:
        busy = f"{_all(limit)} of the app {'is' if limit == 1 else 'are'} at work"
    else:
        return _TAKEN_SOON
    return f"{busy}; it is {_place(known, run)}."


def _place(known: Known, run: FlowRun) -> str:
    place = known.places.get(run.id)
    others = known.in_line[store.route_name(run)]
    where = f"after {others} others" if place is None else f"number {place}"
    return f"{where} in the line of its route"


def _all(limit: int) -> str:
    return "The one agent" if limit == 1 else f"All {limit} agents"


def _will_be_seen(known: Known, task: Task, route: Route) -> Explanation:
    """No run of the task yet: a poll of its route makes one."""
    name, machinery = route.name, known.machinery
    due = _next_poll(known, name)
    if machinery is not None:
        if name not in machinery.deployed:
            reason = f"Route {name!r} takes it, but is not deployed."
            return Explanation(name, reason, None, ("athanore up", "athanore deploy"))
        if machinery.paused.get(name):
            return _paused(known, name, machinery)
        if not machinery.workers:
            reason = f"Route {name!r} takes it, but no worker of the app is online."
            return Explanation(name, reason, None, ("athanore up", "athanore worker"))
        if name in machinery.unserved:
            why, mend = machinery.unserved[name]
            reason = f"Route {name!r} takes it. {why}"
            return Explanation(name, reason, None, (mend, "athanore workers"))
        if name in machinery.unpolled:
            _, why, mend = machinery.unpolled[name]
            reason = f"Route {name!r} takes it, but is not polled. {why}"
            return Explanation(name, reason, None, (mend, command("dispatch", task.id)))
    reason = f"The next poll of route {name!r} finds it."
    return Explanation(name, reason, due, (command("dispatch", task.id),))


def _next_poll(known: Known, route: str) -> datetime | None:
    poll = None if known.machinery is None else known.machinery.deployed.get(route)
    return None if poll is None else next_poll(poll, known.app.clock.now())


def _paused(known: Known, name: str, machinery: Machinery) -> Explanation:
    if machinery.pool_is_paused:
        pool = names.agents_pool(known.app.name)
        reason = f"The work pool {pool!r} is paused in Prefect: no agent starts."
        return Explanation(name, reason, None, (f"prefect work-pool resume {shlex.quote(pool)}",))
    says, why = f"Route {name!r} is paused", machinery.pause_reasons.get(name, "").rstrip(".")
    # What paused it may say so itself.
    reason = f"{says}." if not why else f"{why}." if why.startswith(says) else f"{says}: {why}."
    return Explanation(name, reason, machinery.pause_ends.get(name), (command("resume", name),))


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


def command(verb: str, *words: str) -> str:
    """A command of `athanore` for people to copy."""
    return f"athanore {verb} {shlex.join(words)}"
