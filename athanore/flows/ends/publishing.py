"""Publishing as part of what follows a success: done, put off, or left to a person."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed, Scheduled

from athanore.errors import (
    BranchMovedError,
    BranchNotHereError,
    NotFoundError,
    PrefectUnavailableError,
    PublishError,
    PublishRefusedError,
)
from athanore.flows.ends.rejected import rejected
from athanore.logs import Log
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import watched
from athanore.services.people import approvals, prefect_answers
from athanore.services.pull_requests import publishing

_TRIED_AGAIN = timedelta(minutes=5)
"""What a forge could not do is asked for again after that, however seldom the route is polled."""


class ApprovalNeededError(Exception):
    """The run has to wait for an operator before anything is published.

    Attributes:
        here: where the task is.
    """

    def __init__(self, question: Question, here: str) -> None:
        self.question = question
        self.here = here
        super().__init__(f"Waits for an approval before it is published: {question.id}")


async def published(
    app: App,
    route: Route,
    run_log: RunLog,
    task_id: str,
    say: Callable[[str], Awaitable[None]],
    log: Log,
    again: Callable[[str], Awaitable[State[Any]]],
) -> State[Any] | None:
    """Publish what an agent did who has succeeded, where its route says so; safe to repeat.

    Args:
        say: comments on the task.
        again: has another agent go on with the task; called with the reason.

    Returns:
        What the run ends in if the task does not go on; None if it does.

    Raises:
        ApprovalNeededError: an operator has to say yes first.
        BoardError: the board refuses what is due to the task.
    """
    if route.publish is None:
        return None
    try:
        task = await app.board.task(task_id)
    except NotFoundError:
        return None  # nobody would know what it is about
    clean, approved = app.redactor.text, ""
    try:
        if route.approve_before == "publish":
            gate = await _gate(app, route, run_log, task, say)
            if gate is not None and not approvals.is_yes(gate):
                return await _not_approved(app, route, run_log, gate, log, again)
            approved = "" if gate is None else gate.commit
        done = await publishing.publish(app, route, task, approved=approved)
        text = clean(done.text)
    except BranchNotHereError as exc:
        yes = "An operator has said yes, but " if approved else "It cannot be published: "
        text = clean(f"{yes}{exc}, and the host that has it does not answer. An agent works anew.")
        await say(text)
        return await again(text)
    except BranchMovedError as exc:
        await run_log.goes_on()  # what is there now is asked for
        return await _later(
            app, route, run_log, task, clean(f"Not published yet: {exc}."), say, log
        )
    except PublishRefusedError as exc:
        await run_log.rule_out_retries()
        return Failed(name=StateName.NOT_PUBLISHED, message=clean(_refusal(task_id, exc)))
    except PublishError as exc:
        return await _later(
            app, route, run_log, task, clean(f"Not published yet: {exc}."), say, log
        )
    try:
        await publishing.follow(run_log.prefect, app, route, task_id, done)
    except PrefectUnavailableError as exc:  # the worker stops; the task goes on all the same
        log.error(
            "What comes back of it is not looked at: %s", exc, extra={"action": "pull_not_seen"}
        )
    if approved:
        await run_log.goes_on()
    log.info("%s", text, extra={"action": "published"})
    if all(comment.text != text for comment in task.comments):
        await say(text)
    return None


async def _gate(
    app: App, route: Route, run_log: RunLog, task: Task, say: Callable[[str], Awaitable[None]]
) -> Question | None:
    """What an operator has said, with the task in progress again; None if nothing is to be said.

    Raises:
        ApprovalNeededError: nobody has said anything yet.
    """
    prefect, waited = run_log.prefect, run_log.record.place
    gate = await approvals.publishing_gate(prefect, app, route, run_log.run, task)
    if gate is None:
        return None
    if gate.ending is None:
        await run_log.keep()
        raise ApprovalNeededError(gate, await _taken_back(app, route, run_log, task, say))
    gate = await prefect_answers.take(prefect, app, run_log.run, gate)
    await questions.unlist(prefect, gate.id)
    if waited and task.queue_name == waited == route.waiting_queue:
        await app.board.move(task.id, route.in_progress_queue, followed=False)
    return gate


async def _taken_back(
    app: App,
    route: Route,
    run_log: RunLog,
    task: Task,
    say: Callable[[str], Awaitable[None]],
) -> str:
    """Return where the task is, in progress again if its agent has put it into a route's queue.

    There another agent would take it before it is published. It goes there afterwards.
    """
    here, target = route.in_progress_queue, task.queue_name
    if target == here or target not in watched(await app.routes.read(run_log.prefect)):
        return target
    await run_log.goes_to(target)
    await app.board.move(task.id, here, followed=False)
    await say(f"The task goes to {target!r} when it is published.")
    return here


async def _not_approved(
    app: App,
    route: Route,
    run_log: RunLog,
    gate: Question,
    log: Log,
    again: Callable[[str], Awaitable[State[Any]]],
) -> State[Any]:
    """An operator has said no: with words, an agent goes on; else the task is put aside."""
    if route.rejected_queue is None and gate.ending is not None and gate.ending.reason:
        return await again(f"{approvals.refusal(gate)}. An agent goes on with it.")
    await run_log.goes_on()
    return await rejected(app, route, run_log, gate, log)


def _refusal(task_id: str, error: PublishRefusedError) -> str:
    command = f"athanore publish {shlex.quote(task_id)}"
    command += " --allow-ci-changes" if error.about_ci else ""
    return f"Not published: {error}. Once a person has looked at it: {command}."


async def _later(
    app: App,
    route: Route,
    run_log: RunLog,
    task: Task,
    text: str,
    say: Callable[[str], Awaitable[None]],
    log: Log,
) -> State[Any]:
    """Have a later start of the run publish it, without an agent."""
    due = app.clock.now() + min(route.poll_interval, _TRIED_AGAIN)
    again = f"{text} It is tried again until it is."
    if run_log.kept() is None:
        await say(again)
    await run_log.keep()
    await _taken_back(app, route, run_log, task, say)
    log.error("%s", again, extra={"action": "publish_delayed"})
    app.local_runs.wake(due)
    return Scheduled(name=StateName.WAITING_TO_PUBLISH, scheduled_time=due, message=text)
