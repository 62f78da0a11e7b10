"""What the agent of an attempt has asked people, and what they have answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from athanore.errors import BoardError, NotFoundError
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Ending, Fate, Question
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.services.people import questions as use_cases


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
    return in_prompt(await questions.of_run(run_log.prefect, run_log.run.id))


def in_prompt(asked: list[Question]) -> str:
    """What people have answered in a run so far, for the prompt of its next attempt."""
    parts: list[str] = []
    for question in asked:
        ending = question.ending
        if ending is None or ending.fate is Fate.WITHDRAWN:
            continue
        if question.is_approval:
            if question.commit and ending.reason:
                parts.append(_not_approved(question, ending))
            continue
        said = f"{ending.by} answered" if ending.fate is Fate.ANSWERED else "Nobody answered"
        parts.append(f"You asked:\n\n{_quoted(question.text)}\n\n{said}:\n\n")
        parts[-1] += _quoted(use_cases.shown(question) or "(no answer; decide by yourself)")
    return "\n\n".join(parts)


def _not_approved(question: Question, ending: Ending) -> str:
    return (
        f"{ending.by} has looked at what was committed for this task (up to "
        f"{question.commit[:10]}), and it was not published, because:\n\n{_quoted(ending.reason)}"
        "\n\nGo on in the same folder, on the same branch."
    )


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


class Asking:
    """Asks people for the agent of an attempt, whose time stands still until they have answered.

    Args:
        is_alive: is called again and again meanwhile, as a sign of life of the agent.
    """

    def __init__(
        self, app: App, route: Route, run_log: RunLog, is_alive: Callable[[], None]
    ) -> None:
        self._app = app
        self._route = route
        self._run_log = run_log
        self._is_alive = is_alive

    async def __call__(self, text: str, choices: tuple[str, ...]) -> str | None:
        """The answer; None where there will be none. The same question is asked once in a run."""
        asked = use_cases.Asked(text, choices)
        question = await use_cases.ask(self, self._app, self._route, self._run_log.run, asked)
        while question.ending is None:
            question = await use_cases.wait(
                self, self._app, question, use_cases.LONGEST_WAIT, self._is_alive
            )
        return use_cases.shown(question) or None

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[RunStore]:
        """The store of the run; see `PrefectAccess`."""
        yield self._run_log.prefect
