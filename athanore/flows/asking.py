"""A run whose agent has asked a person and has ended: it is suspended, and goes on with the answer.

Its slot is free meanwhile, and nothing is offered to workers. What it waits for is in its record,
so that any worker can go on with it, whichever has suspended it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry, Failed

from athanore.errors import AnswerLostError, BoardError
from athanore.flows.attempts.answers import unanswered
from athanore.flows.ends import letting_go
from athanore.flows.ends.rejected import rejected
from athanore.logs import Log
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Fate, Question
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import RunControl
from athanore.runtime.leases.verdict import judge
from athanore.services.people import approvals, prefect_answers, telling


async def before_agent(
    prefect: RunStore, app: App, route: Route, run_log: RunLog, handle: RunControl, log: Log
) -> State[Any] | None:
    """See to the questions of a run whose task was just claimed; None if its agent may begin.

    Raises:
        Abort: the run is suspended (again), because a question is open.
    """
    record = run_log.record
    task_id = str(run_log.run.parameters["task_id"])
    gate = await approvals.gate(prefect, app, route, run_log.run, task_id)
    if gate is not None and gate.ending is None:
        return await suspend(prefect, app, route, run_log, gate, handle, {}, log)
    if gate is not None and not approvals.is_yes(gate):
        await run_log.goes_on()
        gate = await prefect_answers.take(prefect, app, run_log.run, gate)
        try:
            return await rejected(app, route, run_log, gate, log)
        except BoardError as exc:
            return await _rejected_later(app, route, run_log, exc, log)
    if record.starts == 1:
        return None
    if (question := await unanswered(app, run_log)) is not None:
        return await suspend(prefect, app, route, run_log, question, handle, {}, log)
    if not record.question:
        return None
    asked = {q.id: q for q in await questions.of_run(prefect, run_log.run.id)}
    question = asked.get(record.question)
    await run_log.goes_on()
    if question is None or question.ending is None:
        return None
    await prefect_answers.take(prefect, app, run_log.run, question)
    await questions.unlist(prefect, question.id)
    if question.fate is not Fate.EXPIRED:
        return None
    await run_log.leave()
    await run_log.rule_out_retries()
    text = f"Nobody has answered question {question.id} in time (ask_timeout): {question.text}"
    log.error("%s", text, extra={"action": "question_expired"})
    return Failed(name=StateName.QUESTION_EXPIRED, message=text)


async def suspend(
    prefect: RunStore,
    app: App,
    route: Route,
    run_log: RunLog,
    question: Question,
    handle: RunControl,
    usage: Mapping[str, Any],
    log: Log,
    here: str | None = None,
) -> State[Any]:
    """Suspend the run of this start until a question is answered. Its agent is dead.

    Args:
        usage: what the agent has used.
        here: where the task is, if that may be elsewhere than in progress: it stays there then.

    Returns:
        The state of a run that could not be suspended, because it was cancelled meanwhile, say.

    Raises:
        Abort: it is suspended, or somebody else has the run now.
    """
    task_id = str(run_log.run.parameters["task_id"])
    moves = here is None or here == route.in_progress_queue
    place = here if here is not None and not moves else route.waiting_queue
    # Noted first: a sweep must not take the move for a person's, nor lose the task's place.
    await run_log.waits(question.id, place or route.in_progress_queue, usage)
    if moves and place is not None and not await _put_aside(app, place, task_id, log):
        await run_log.waits(question.id, route.in_progress_queue, usage)
    if await telling.made_known(prefect, app, run_log.run, question):
        await telling.say_asked(app, question)
    start = run_log.record.starts
    answer = await prefect.propose(run_log.run.id, questions.suspended(question, start))
    now = await prefect.read_run(run_log.run.id)
    if not answer.accepted:
        verdict = judge(run_log.start, now) if run_log.start else None
        if verdict is None:
            raise Abort(f"The run cannot be suspended; it is {now.state_name} in Prefect.")
        handle.stop(*verdict)
        return await letting_go.stopped(app, route, run_log, handle, log, unsure=False, usage={})
    await run_log.leave()
    log.info(
        "Suspended until question %s is answered: %s",
        question.id,
        question.text,
        extra={"action": "run_suspended"},
    )
    await questions.save_form(prefect, now, question)
    await _look_again(prefect, app, run_log, question)
    raise Abort(f"The run waits for the answer to question {question.id}.")


async def _look_again(prefect: RunStore, app: App, run_log: RunLog, question: Question) -> None:
    """Go on at once if the answer came just before the run was suspended."""
    for known in await questions.of_run(prefect, run_log.run.id):
        if known.id == question.id and known.ending is not None:
            await questions.resume(prefect, await prefect.read_run(run_log.run.id), known)
            app.local_runs.wake()


async def _rejected_later(
    app: App, route: Route, run_log: RunLog, refusal: BoardError, log: Log
) -> State[Any]:
    """Have the next start put the task aside, which it takes from where it is."""
    log.error(
        "The task stays in progress, and is ours: %s", refusal, extra={"action": "board_refused"}
    )
    await run_log.keep_claim()
    await run_log.give_back()
    due = app.clock.now() + route.poll_interval
    app.local_runs.wake(due)
    state: State[Any] = AwaitingRetry(scheduled_time=due)
    state.message = f"Not approved; the move of its task waits for the board: {refusal}"
    return state


async def _put_aside(app: App, place: str, task_id: str, log: Log) -> bool:
    """Move the task to where it waits; False if it is not there for sure."""
    try:
        await app.board.move(task_id, place, followed=False)
    except AnswerLostError as exc:
        log.warning("The task may wait where it is: %s", exc, extra={"action": "move_refused"})
    except BoardError as exc:
        log.error("The task waits where it is: %s", exc, extra={"action": "move_refused"})
        return False
    return True
