"""What the agent of an attempt has asked people, and what they have answered."""

from __future__ import annotations

from athanore.errors import BoardError, NotFoundError
from athanore.routes import Route
from athanore.runs import questions
from athanore.runs.questions import Question
from athanore.runs.run_log import RunLog
from athanore.runtime.apps import App
from athanore.services import questions as use_cases


async def unanswered(app: App, run_log: RunLog) -> Question | None:
    """The oldest question of a run that nobody has answered, and whose time is not over."""
    for question in await questions.of_run(run_log.prefect, run_log.run.id):
        if question.ending is not None:
            continue
        if not use_cases.is_due(question, app.clock.now()):
            return question
        await use_cases.expire(run_log.prefect, app, question)
    return None


async def waited_for(app: App, route: Route, run_log: RunLog) -> Question | None:
    """What an agent waits for that has ended well; nothing, if it has moved its task itself."""
    question = await unanswered(app, run_log)
    if question is None:
        return None
    try:
        here = (await app.board.task(question.task_id)).queue_name
    except NotFoundError:
        return None
    except BoardError:
        return question
    return question if here == route.in_progress_queue else None


async def answered(run_log: RunLog) -> str:
    """What people have answered in this run before this start, for the agent's prompt."""
    if run_log.record.starts == 1:
        return ""
    return use_cases.in_prompt(await questions.of_run(run_log.prefect, run_log.run.id))
