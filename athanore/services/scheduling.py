"""Scheduled work: the task of a slot is created once, whoever is killed or starts twice meanwhile.

A slot is one time of a schedule. Who creates its task notes that in Prefect first, under a name
that only one can take; the task has a mark of the slot in its description. Whoever finds the note
of somebody who did not come to an end looks for the mark on the board. Where the board does not
list all of its tasks, such as closed ones, no second task is created then, unless the board has
promised to look for it first.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from athanore import names
from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    DispatchError,
    InvalidTaskError,
    NotSupportedError,
    QueueNotFoundError,
    RouteNotFoundError,
    TaskNotFoundError,
)
from athanore.models import Task, TaskDraft
from athanore.queue_adapters.whole_board import SupportsCopy
from athanore.routing.schedules import Schedule
from athanore.runs.port import RunQuery, RunStore, Switches
from athanore.runs.prefect_store import polls_are_paused
from athanore.runs.store import FINISHED
from athanore.runtime.apps import App
from athanore.services import tasks
from athanore.services.access import PrefectAccess
from athanore.services.showing.route_views import ScheduleView

logger = logging.getLogger("athanore")

_KEPT = "athanore-slot"
_ON_TIME = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Note:
    """What Prefect keeps of a slot.

    Attributes:
        run: the run that has it.
        begun: the creation was asked of the board; how it ended is not known without `task`.
        task: the id of the task; "" until there is one, which may lack its labels until `over`.
        over: nothing more is due.
    """

    app: str
    schedule: str
    slot: str
    run: str
    begun: bool = False
    task: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What came of a slot: its task, if there is one, and the same in words.

    In doubt, a person has to look for the task.
    """

    task: Task | None
    says: str
    in_doubt: bool = False


def slot_of(schedule: Schedule, run: FlowRun, now: datetime) -> tuple[datetime, str]:
    """The slot that a run is for, and how it is told from others.

    Of several that were missed, it is the last one. A run that a person has started is one of its
    own.
    """
    due = run.state.state_details.scheduled_time if run.state else None
    due = run.expected_start_time or due or now
    if not run.auto_scheduled:
        return now, str(run.id)
    due = due.astimezone(UTC)
    # A retry is due later than its slot, and one that was missed long before now.
    last = schedule.last_until(max(now, due))
    slot = due if abs(last - due) < _ON_TIME else last
    return slot, slot.astimezone(UTC).isoformat(timespec="minutes")


async def create(
    access: PrefectAccess, app: App, schedule: Schedule, run: UUID, slot: datetime, key: str
) -> Created:
    """Create the task of a slot, unless that was done, and dispatch it if its queue is watched.

    Args:
        run: the run that does it.
        slot, key: see `slot_of`.

    Raises:
        BoardUnavailableError: nothing was created, or it has no labels yet; try again later.
        AnswerLostError: it may have been created; another try looks for it.
        Exception: what the function of the schedule raised.
    """
    name = _note_name(app.name, schedule.name, key)
    mine = _Note(app.name, schedule.name, key, str(run))
    async with access.client() as prefect:
        if not await prefect.keep_first(name, asdict(mine), _tags(app)):
            known = await _read(prefect, name) or mine
            if known.over:
                return Created(None, _done_before(known))
            if known.run != str(run) and not await _has_ended(prefect, known.run):
                return Created(None, "Another run is about to create the task of this slot.")
            mine = replace(known, run=str(run))
    mark = _mark(app.name, schedule.name, key)
    draft = app.noted.drafts.get(mark)
    if mine.begun:
        if (found := await _find(app, mine.task, mark)) is not None:
            draft = draft or await schedule.draft(slot)
            if not mine.task:  # it was found by its mark
                found = await _placed(access, app, schedule, found)
            found = await _labelled(app, found, draft)
            await _end(access, app, name, replace(mine, task=found.id, over=True), mark)
            return Created(
                found,
                f"The task of this slot is {found.id!r}, in {found.queue_name!r}: an earlier start "
                "has it.",
            )
        if draft is None and not isinstance(app.board.adapter, SupportsCopy):
            await _end(access, app, name, replace(mine, over=True), mark)
            return Created(
                None,
                "An earlier start of this run may have created the task, and it is not among the "
                f"open ones: no second one is created. Look for {mark!r} on the board.",
                in_doubt=True,
            )
    draft = draft or await schedule.draft(slot)
    if draft is None:
        await _end(access, app, name, replace(mine, over=True), mark)
        return Created(None, "The function of the schedule wants no task this time.")
    was_begun, mine = mine.begun, replace(mine, begun=True, task="")
    await _keep(access, app, name, mine)
    try:
        task = await _put(app, schedule, draft, f"{_footer(schedule, slot)} ({mark})")
    except AnswerLostError as exc:
        if exc.may_repeat:  # the board looks for a task with these words first
            app.noted.drafts[mark] = draft
        raise
    except (BoardUnavailableError, InvalidTaskError, QueueNotFoundError):
        if not was_begun:  # nothing was created
            await _keep(access, app, name, replace(mine, begun=False))
        raise
    mine = replace(mine, task=task.id)
    await _keep(access, app, name, mine)
    task = await _labelled(app, task, draft)
    await _end(access, app, name, replace(mine, over=True), mark)
    await tasks.dispatch_if_watched(access, app, task)
    return Created(task, f"Created {task.name!r} ({task.id}) in {task.queue_name!r}.")


async def _put(app: App, schedule: Schedule, draft: TaskDraft, footer: str) -> Task:
    clean = app.redactor.text
    description = f"{clean(draft.description).rstrip()}\n\n{footer}".lstrip()
    return await app.board.create(schedule.queue, clean(draft.name), description)


async def _placed(access: PrefectAccess, app: App, schedule: Schedule, task: Task) -> Task:
    """Bring a task that was found on the board to its queue, unless it has been there already.

    An agent that had it has moved it on, or a person after that.
    """
    if task.queue_name == schedule.queue:
        return task
    async with access.client() as prefect:
        runs = await prefect.find(RunQuery(tags=[names.app_tag(app.name), names.task_tag(task.id)]))
    if runs:
        return task
    await app.board.move(task.id, schedule.queue)
    return replace(task, queue_name=schedule.queue)


async def _labelled(app: App, task: Task, draft: TaskDraft | None) -> Task:
    labels = list(dict.fromkeys([*task.labels, *(draft.labels if draft else ())]))
    if set(labels) == set(task.labels):
        return task
    try:
        return await app.board.update(task.id, labels=labels)
    except (InvalidTaskError, NotSupportedError) as exc:
        logger.error(
            "Task %r was created without its labels: %s",
            task.id,
            exc,
            extra={"action": "labels_refused"},
        )
        return task


async def _find(app: App, task_id: str, mark: str) -> Task | None:
    """The task of a slot, by its id or among those that the board lists; None if it is neither."""
    if task_id:
        with suppress(TaskNotFoundError):
            return await app.board.task(task_id)
    queues = [q.name for q in await app.board.queues()]
    listed = await app.board.ready_tasks(queues)
    return next((t for t in listed if mark in t.description), None)


def _mark(app: str, schedule: str, key: str) -> str:
    return f"slot-{sha256(f'{app}\0{schedule}\0{key}'.encode()).hexdigest()[:16]}"


def _note_name(app: str, schedule: str, key: str) -> str:
    return f"{_KEPT}-{sha256(f'{app}\0{schedule}\0{key}'.encode()).hexdigest()[:32]}"


def _tags(app: App) -> list[str]:
    return [_KEPT, names.app_tag(app.name)]


def _footer(schedule: Schedule, slot: datetime) -> str:
    there = slot.astimezone(schedule.zone)
    return f"Created by the schedule {schedule.name!r} for {there:%Y-%m-%d %H:%M}"


def _done_before(known: _Note) -> str:
    return f"The task of this slot was created before{f' ({known.task})' if known.task else ''}."


async def _read(prefect: RunStore, name: str) -> _Note | None:
    kept = await prefect.value(name)
    try:
        return None if kept is None else _Note(**kept.value)
    except TypeError:  # of another version, or nobody's
        return None


async def _has_ended(prefect: RunStore, run: str) -> bool:
    try:
        found = await prefect.read_run(UUID(run))
    except (ObjectNotFound, ValueError):
        return True
    return found.state_type in FINISHED


async def _end(access: PrefectAccess, app: App, name: str, note: _Note, mark: str) -> None:
    """Note that nothing more is due in a slot."""
    await _keep(access, app, name, note)
    app.noted.drafts.pop(mark, None)


async def _keep(access: PrefectAccess, app: App, name: str, note: _Note) -> None:
    """Note how far a slot is; with its end, the notes of earlier ones are dropped."""
    tags = _tags(app)
    async with access.client() as prefect:
        await prefect.keep(name, asdict(note), tags)
        if not note.over:
            return
        for kept in await prefect.values(tags):
            old: dict[str, Any] = kept.value
            if old.get("schedule") == note.schedule and old.get("over") and old != asdict(note):
                await prefect.forget(_note_name(app.name, note.schedule, str(old.get("slot"))))


async def views(prefect: RunStore, app: App) -> tuple[ScheduleView, ...]:
    """Say of each schedule when it is due next; in one or two requests, none without any."""
    if not app.dispatcher.schedules:
        return ()
    tags = ["athanore", names.app_tag(app.name), names.SCHEDULE_TAG]
    deployed = {d.parameters.get("schedule"): d for d in await prefect.deployments(tags)}
    waiting = await prefect.find(
        RunQuery(tags=[names.app_tag(app.name), names.SCHEDULE_TAG], states=[StateType.SCHEDULED])
    )
    due: dict[object, datetime] = {}
    for run in waiting:
        if (at := run.next_scheduled_start_time) is not None:
            due.setdefault(run.parameters.get("schedule"), at)
    return tuple(
        ScheduleView(
            name=s.name,
            queue_name=s.queue,
            cron=s.cron,
            time_zone=s.time_zone,
            deployed=s.name in deployed,
            paused=s.name in deployed and polls_are_paused(deployed[s.name]),
            next=due.get(s.name),
        )
        for s in app.dispatcher.schedules.values()
    )


async def switch(prefect: RunStore, app: App, name: str, *, paused: bool) -> str:
    """Pause a schedule, or let it go on. What falls due meanwhile is not made up for.

    Raises:
        RouteNotFoundError: no route and no schedule has this name.
        DispatchError: it is not deployed.
    """
    if name not in app.dispatcher.schedules:
        there = [*await app.routes.read(prefect), *app.dispatcher.schedules]
        raise RouteNotFoundError(name, there)
    deployed_as = f"{names.SCHEDULE_FLOW}/{names.deployment_name(app.name, name)}"
    try:
        known = await prefect.deployment(deployed_as)
    except ObjectNotFound as exc:
        raise DispatchError(
            f"Schedule {name!r} is not deployed; run `athanore deploy` first."
        ) from exc
    switches = Switches(known.id, known.id, known.paused, None, False, "")
    await (prefect.pause_polls if paused else prefect.resume_polls)(switches)
    return name


async def let_lost_go_on(prefect: RunStore, run: FlowRun, now: datetime) -> None:
    """Have a run go on whose worker is gone: the mark of its slot says whether anything is due."""
    with suppress(ObjectNotFound):
        await prefect.impose(
            run.id, AwaitingRetry(scheduled_time=now, message="The worker was lost.")
        )
