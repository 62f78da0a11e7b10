"""What waits for a person: what no poll, no hook and no recovery puts right by itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.models import Task
from athanore.queue_adapters.base import HasUser
from athanore.runs import store
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.kept.questions import Question
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.refused_claim import HELD
from athanore.runs.states import NOBODYS_WISH, StateName
from athanore.runtime.apps import App
from athanore.runtime.routes import ownership
from athanore.runtime.routes.route_registry import Routes
from athanore.services.dead_letters import AtRest, requeue_target
from athanore.services.owners import owners
from athanore.services.people.questions import first_line
from athanore.services.showing.views import Kind, NeedsPerson
from athanore.services.status.machinery import Machinery
from athanore.texts import cut

_NO_CARE = NOBODYS_WISH | {StateName.STOPPED, StateName.MOVED_AWAY, StateName.REJECTED}
"""Cancelled states of runs whose tasks are where somebody wants them."""
_MOST = 200
"""How many tasks are asked about at most: each is a call of the app's code."""

_MEND_CLAIM = "Mend what the board refuses, or change the card. It is tried again by itself."
_MEND = (
    "Mend the function of {option}= and start the app anew (or: athanore reload), or change the "
    "card. It is tried again by itself."
)


async def needs_person(
    app: App,
    routes: Routes,
    machinery: Machinery,
    at_rest: AtRest,
    held: Iterable[NeedsPerson],
) -> list[NeedsPerson]:
    """Return all that waits for a person, as `in_order` has it.

    Args:
        at_rest: see `dead_letters.at_rest`.
        held: see `of_matches`.

    Raises:
        BoardError: the board cannot be read.
    """
    tasks = [*held, *of_tasks(routes, at_rest, await board_user(app))]
    return in_order(app.name, machinery, tasks, await app.board.problems())


def in_order(
    app: str,
    machinery: Machinery | None,
    tasks: Iterable[NeedsPerson] = (),
    problems: Iterable[str] = (),
) -> list[NeedsPerson]:
    """Put together all that waits for a person: questions first, so that no cut takes them.

    Args:
        machinery: None while Prefect does not answer.
        tasks: see `of_held` and `of_tasks`.
        problems: see `of_board`.
    """
    if machinery is None:
        return [*tasks, *of_board(problems)]
    return [
        *map(_asked, machinery.asked),
        *tasks,
        *of_pulls(machinery.given_up),
        *of_board(problems),
        *of_routes(app, machinery),
    ]


async def of_matches(
    prefect: RunStore, app: App, routes: Routes, tasks: Iterable[Task] | None = None
) -> list[NeedsPerson]:
    """The tasks without a run on which a route's `match` fails, so that no agent starts.

    Not those that have to be read whole for it (`needs=`): their poll reads them.

    Args:
        tasks: open ones, as they were just read; by default the board is asked for them.

    Raises:
        BoardError: the board cannot be read.
    """
    asking = {k.route.queue_name for k in routes.values() if k.route.match}
    asking = {name for name in asking if not ownership.needs(routes, name)}
    if tasks is None:
        tasks = await app.board.ready_tasks(sorted(asking)) if asking else ()
    asked = [t for t in tasks if t.queue_name in asking][:_MOST]
    found = await owners(app, routes, asked)
    active = await store.active_runs(prefect, app.name, list(found.held)) if found.held else {}
    return of_held({t: why for t, why in found.held.items() if t not in active})


def of_held(whys: Mapping[str, str]) -> list[NeedsPerson]:
    """The tasks on which a route's `match` fails, by why it does."""
    mend = _MEND.format(option="match")
    return [NeedsPerson(Kind.HELD, why, mend, task_id) for task_id, why in whys.items()]


async def board_user(app: App) -> str | None:
    """Whom claims assign on the board; None if nobody."""
    adapter = app.board.adapter
    return await app.board.call(lambda: adapter.user) if isinstance(adapter, HasUser) else None


def of_tasks(routes: Routes, at_rest: AtRest, user: str | None) -> list[NeedsPerson]:
    """The idle tasks in resting places that wait for a person.

    Dead letters are told apart from these, but for those that go round.

    Args:
        at_rest: see `dead_letters.at_rest`.
        user: whom claims assign.
    """
    found = (_of_task(routes, task, last, user) for task, last in at_rest)
    return [matter for matter in found if matter is not None]


def _of_task(
    routes: Routes, task: Task, last: FlowRun | None, user: str | None
) -> NeedsPerson | None:
    whose = f"Task {task.id!r} ({task.name})"
    requeue = f"athanore requeue {shlex.quote(task.id)}"
    in_progress = {k.route.in_progress_queue for k in routes.values()}
    if last is not None and last.state is not None and last.state_name == StateName.GOES_ROUND:
        says = f"{whose} goes round. {last.state.message or ''}".strip()
        mend = f"Mend what moves it back, then: {requeue}"
        return NeedsPerson(Kind.GOES_ROUND, says, mend, task.id)
    if last is not None and last.state is not None and last.state_name == StateName.NOT_PUBLISHED:
        says = f"{whose}: {last.state.message or ''}".strip()
        mend = f"Look at the branch, then: athanore publish {shlex.quote(task.id)}"
        return NeedsPerson(Kind.NOT_PUBLISHED, says, mend, task.id)
    if task.queue_name not in in_progress:
        return None
    if last is None:
        if user is None or user not in task.assignees:
            return None  # a person's card
        says = f"{whose} is in {task.queue_name!r}, and Prefect knows no run of it."
        if requeue_target(routes, task, last, user) is None:
            requeue = f"{requeue} --queue QUEUE"
        return NeedsPerson(Kind.ORPHAN, says, requeue, task.id)
    if last.state_type is StateType.CANCELLED and last.state_name not in _NO_CARE:
        why = (last.state.message if last.state else "") or ""
        said = f" ({why})" if why else ""
        says = f"{whose} was cancelled{said}, and is left in {task.queue_name!r}."
        return NeedsPerson(Kind.CANCELLED, says, requeue, task.id)
    return None


def of_pulls(given_up: Iterable[OpenPull]) -> list[NeedsPerson]:
    """The pull requests that agents go on with no more."""
    return [
        NeedsPerson(
            Kind.MAX_REACTIONS,
            f"{pull.url} of task {pull.task!r} still fails after {pull.reactions} reactions.",
            "Look at it, and merge or close it; or: athanore dispatch "
            f"{shlex.quote(pull.task)} --queue {shlex.quote(pull.route)}",
            pull.task,
            pull.route,
        )
        for pull in given_up
    ]


def of_board(problems: Iterable[str]) -> list[NeedsPerson]:
    """The cards that cannot be read."""
    mend = "Mend the card on the board; it is taken up at the next poll."
    return [
        NeedsPerson(Kind.BROKEN_ENTRY, f"{p[:1].upper()}{p[1:]}; it is skipped.", mend)
        for p in problems
    ]


def of_routes(app: str, machinery: Machinery) -> list[NeedsPerson]:
    """Tasks whose runs are held, and routes that are paused or have no worker."""
    return [*map(_held, machinery.held), *_of_routes(app, machinery)]


def _asked(question: Question) -> NeedsPerson:
    if question.is_approval:
        says = f"Task {question.task_id!r} waits for an approval: {first_line(question)}"
        mend = f"athanore approve {shlex.quote(question.in_commands)} (or athanore reject)"
        return NeedsPerson(Kind.QUESTION, says, mend, question.task_id)
    says = f"The agent of task {question.task_id!r} asks: {cut(question.text, 300)}"
    if question.choices:
        says += f" ({' | '.join(question.choices)})"
    mend = f"athanore answer {question.id} TEXT"
    return NeedsPerson(Kind.QUESTION, says, mend, question.task_id)


def _held(run: FlowRun) -> NeedsPerson:
    option = record_of(run).held
    says = (run.state.message if run.state else "") or "A task is held."
    mend = _MEND_CLAIM if option == HELD else _MEND.format(option=option)
    return NeedsPerson(
        Kind.HELD, says, mend, names.task_of(run.tags), names.route_of(run.parameters)
    )


def _of_routes(app: str, machinery: Machinery) -> list[NeedsPerson]:
    if machinery.pool_is_paused:
        pool = names.agents_pool(app)
        says = f"The work pool {pool!r} is paused: no agent starts."
        mend = f"prefect work-pool resume {shlex.quote(pool)}"
        return [NeedsPerson(Kind.PAUSED_POOL, says, mend)]
    found: list[NeedsPerson] = []
    for name, parts in machinery.paused.items():
        resume = f"athanore resume {shlex.quote(name)}"
        if reason := machinery.pause_reasons.get(name):
            mend = f"Mend the cause, then: {resume}"
            found.append(NeedsPerson(Kind.PAUSED_ITSELF, reason, mend, route=name))
        elif len(parts) == 1:
            says = f"Route {name!r} is paused in part: {_HALVES[parts[0]]}"
            mend = f"{resume} (or athanore pause {shlex.quote(name)})"
            found.append(NeedsPerson(Kind.HALF_PAUSED, says, mend, route=name))
    for name, (why, mend) in machinery.unserved.items():
        says = f"No agent starts for route {name!r}. {why}"
        found.append(NeedsPerson(Kind.NO_HOST, says, mend, route=name))
    return [*found, *_not_polled(machinery)]


def _not_polled(machinery: Machinery) -> list[NeedsPerson]:
    """The routes that nothing polls, those with one reason together."""
    together: dict[tuple[str, str], list[str]] = {}
    for name, (_, why, mend) in machinery.unpolled.items():
        together.setdefault((why, mend), []).append(name)
    found: list[NeedsPerson] = []
    for (why, mend), routes in together.items():
        since = min(machinery.unpolled[name].since for name in routes)
        listed, one = ", ".join(map(repr, routes)), len(routes) == 1
        says = (
            f"{'Route' if one else 'Routes'} {listed} {'has' if one else 'have'} not been polled "
            f"since {since:%Y-%m-%d %H:%M} UTC. {why}"
        )
        found.append(NeedsPerson(Kind.NOT_POLLED, says, mend, route=routes[0] if one else None))
    return found


_HALVES = {
    "polls": "its queue is not looked at, and agents start for what waits already.",
    "agents": "its queue is looked at, and no agent starts.",
}
