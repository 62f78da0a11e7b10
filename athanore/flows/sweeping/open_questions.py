"""Looking after open questions, part of every sweep: what their run, their card or the time says.

Each step may be repeated, and of several sweeps one does it. A question that is listed is open, or
what follows its end is not done yet: its run goes on, and then it is listed no more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from athanore.errors import BoardError, NotFoundError, QuestionClosedError, RouteError
from athanore.flows.ends.outcome import Conclusion
from athanore.runs import store
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Listed, Question
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.route_record import RouteRecord
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import StopReason
from athanore.services.people import comment_answers, prefect_answers
from athanore.services.people import questions as use_cases

logger = logging.getLogger("athanore.worker")


async def look_after(prefect: RunStore, app: App, places: Mapping[str, str]) -> None:
    """See to all open questions of an app.

    Args:
        places: the queues of tasks, as they were a moment ago, as far as they are known.
    """
    open_ = await keep_time(prefect, app)
    for listed in open_:
        try:
            await _look_at(prefect, app, listed, places)
            await _read_comments(prefect, app, listed, open_)
        except (BoardError, RouteError, QuestionClosedError) as exc:
            logger.warning(
                "Question %s is looked after again: %s",
                listed.id,
                exc,
                extra={"action": "question_delayed"},
            )


async def keep_time(prefect: RunStore, app: App) -> list[Listed]:
    """Have the time of attempts here stand still while their agents wait for an answer elsewhere.

    What such an agent waits for is told by the API that it has called, in another process.

    Returns:
        All questions that are listed as open.
    """
    open_ = await questions.all_listed(prefect, app.name)
    now = app.clock.now()
    waiting = {q.run_id for q in open_ if q.waits_until is not None and q.waits_until > now}
    for control in app.local_runs.all_running():
        control.waits.elsewhere(control.run_id in waiting)
    return open_


async def _look_at(prefect: RunStore, app: App, listed: Listed, places: Mapping[str, str]) -> None:
    try:
        run = await prefect.read_run(listed.run_id)
    except ObjectNotFound:
        await questions.unlist(prefect, listed.id)
        return
    found = await questions.of_run(prefect, run.id)
    question = next((q for q in found if q.id == listed.id), None)
    if question is None:
        await questions.unlist(prefect, listed.id)
    elif run.state_type in store.FINISHED:
        await _ended(prefect, app, run, question)
    elif question.ending is not None:
        await prefect_answers.take(prefect, app, run, question)
        if questions.waits_for(run) == question.id:
            await questions.resume(prefect, run, question)
            app.local_runs.wake()
        await questions.unlist(prefect, question.id)
    elif use_cases.is_due(question, app.clock.now()):
        await use_cases.expire(prefect, app, question)
    elif questions.waits_for(run) == question.id:
        await questions.save_form(prefect, run, question)
        await _check_place(prefect, app, run, question, places)


async def _read_comments(
    prefect: RunStore, app: App, listed: Listed, open_: Sequence[Listed]
) -> None:
    """Take an answer that somebody has written on the card, where that is asked for."""
    found = {q.id: q for q in await questions.of_run(prefect, listed.run_id)}
    question = found.get(listed.id)
    if question is None or question.ending is not None:
        app.noted.comments_due.pop(listed.id, None)
    elif comment_answers.is_to_look(app, question):
        ids = {one.id for one in open_} - {question.id}
        others = [q for q in found.values() if q.id in ids and q.ending is None]
        await comment_answers.look(prefect, app, question, others)


async def _check_place(
    prefect: RunStore, app: App, run: FlowRun, question: Question, places: Mapping[str, str]
) -> None:
    """Withdraw the question of a task that somebody has moved, or deleted."""
    record = record_of(run)
    begun = RouteRecord.parse(record.route)
    # A move to where it waits may be on its way, or lost.
    wanted = (record.place, begun.in_progress_queue if begun else record.place)
    if places.get(question.task_id) in wanted:
        return
    try:
        queue = (await app.board.task(question.task_id)).queue_name
    except NotFoundError:
        queue = None
    now = await prefect.read_run(run.id)
    if queue in wanted or questions.waits_for(now) != question.id:
        return
    why = "the task is gone from the board" if queue is None else f"the task was moved to {queue!r}"
    state = Cancelled(name=StateName.QUESTION_WITHDRAWN, message=f"Question withdrawn: {why}.")
    if (await prefect.propose(run.id, state)).accepted:
        await use_cases.withdraw(prefect, app, question, why)


async def _ended(prefect: RunStore, app: App, run: FlowRun, question: Question) -> None:
    """The run is over, and its question is still listed."""
    said = (run.state.message if run.state else None) or ""
    if question.ending is None:
        why = f"the run has ended as {run.state_name}" + (f" ({said.rstrip('.')})" if said else "")
        await use_cases.withdraw(prefect, app, question, why)
    else:
        await prefect_answers.take(prefect, app, run, question)
    record = record_of(run)
    cancelled = run.state_type is StateType.CANCELLED
    nobodys = run.state_name in (StateName.QUESTION_WITHDRAWN, StateName.SUPERSEDED)
    if cancelled and not nobodys and record.question == question.id and not record.is_closed:
        # A person has cancelled a run that waited: its task goes where a working one's would.
        route = await app.routes.find(prefect, run.parameters)
        route = replace(route, in_progress_queue=record.place or route.in_progress_queue)
        log = RunLog(prefect, run, route.retry)
        conclusion = Conclusion(app, route, log, question.task_id, logger)
        await conclusion.stopped(StopReason.CANCELLED, said)
    await questions.unlist(prefect, question.id)
