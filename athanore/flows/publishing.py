"""Publishing as part of what follows a success: done, put off, or left to a person."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed, Scheduled

from athanore.errors import (
    NotFoundError,
    PrefectUnavailableError,
    PublishError,
    PublishRefusedError,
)
from athanore.flows.attempts.transcript import Log
from athanore.routes import Route
from athanore.runs.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.services import publishing


async def published(
    app: App,
    route: Route,
    run_log: RunLog,
    task_id: str,
    say: Callable[[str], Awaitable[None]],
    log: Log,
) -> State[Any] | None:
    """Publish what an agent did who has succeeded, where its route says so; safe to repeat.

    Args:
        say: comments on the task.

    Returns:
        What the run ends in if the task does not go on; None if it does.
    """
    if route.publish is None:
        return None
    try:
        task = await app.board.task(task_id)
    except NotFoundError:
        return None  # nobody would know what it is about
    clean = app.redactor.text
    try:
        done = await publishing.publish(app, route, task)
        text = clean(done.text)
    except PublishRefusedError as exc:
        await run_log.rule_out_retries()
        return Failed(name=StateName.NOT_PUBLISHED, message=clean(_refusal(task_id, exc)))
    except PublishError as exc:
        return await _later(app, route, run_log, clean(f"Not published yet: {exc}."), say, log)
    try:
        await publishing.follow(run_log.prefect, app, route, task_id, done)
    except PrefectUnavailableError as exc:  # the worker stops; the task goes on all the same
        log.error(
            "What comes back of it is not looked at: %s", exc, extra={"action": "pull_not_seen"}
        )
    log.info("%s", text, extra={"action": "published"})
    if all(comment.text != text for comment in task.comments):
        await say(text)
    return None


def _refusal(task_id: str, error: PublishRefusedError) -> str:
    command = f"athanore publish {shlex.quote(task_id)}"
    command += " --allow-ci-changes" if error.about_ci else ""
    return f"Not published: {error}. Once a person has looked at it: {command}."


async def _later(
    app: App,
    route: Route,
    run_log: RunLog,
    text: str,
    say: Callable[[str], Awaitable[None]],
    log: Log,
) -> State[Any]:
    """Have a later start of the run publish it, without an agent."""
    due = app.clock.now() + route.poll_interval
    again = f"{text} It is tried again until it is."
    if run_log.kept() is None:
        await say(again)
    await run_log.keep()
    log.error("%s", again, extra={"action": "publish_delayed"})
    app.local_runs.wake(due)
    return Scheduled(name=StateName.WAITING_TO_PUBLISH, scheduled_time=due, message=text)
