"""A run whose agent has asked a person and has ended: it is suspended, and goes on with the answer.

Its slot is free meanwhile, and nothing is offered to workers. What it waits for is in its record,
so that any worker can go on with it, whichever has suspended it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.states import Failed

from athanore.errors import BoardError
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
from athanore.services.people import approvals


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
        return await rejected(app, route, run_log, gate, log)
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
    await questions.end(prefect, question, question.ending)  # said on Prefect's page only
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
    if here is None or here == route.in_progress_queue:
        here = await _put_aside(app, route, str(run_log.run.parameters["task_id"]), log)
    await run_log.waits(question.id, here, usage)
    await questions.list_it(prefect, app.name, question)
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


async def _put_aside(app: App, route: Route, task_id: str, log: Log) -> str:
    """Move the task to where it waits, and return where it is then."""
    here = route.in_progress_queue
    if route.waiting_queue is None:
        return here
    try:
        await app.board.move(task_id, route.waiting_queue, followed=False)
    except BoardError as exc:
        log.error(
            "The task waits where it is: %s",
            exc,
            extra={"action": "move_refused"},
        )
        return here
    return route.waiting_queue
