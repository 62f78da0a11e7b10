"""Commands about one task: show, explain, logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.text import Text

from athanore.cli.acting import TASK, TaskId
from athanore.cli.context import AppOption, AsJson, with_app
from athanore.cli.output import console, plain, print_json, print_table, say
from athanore.errors import DispatchError
from athanore.launch.display import ago, state_text, text, until
from athanore.texts import as_json

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, Log

    from athanore.models import Task
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.services.status.explaining import Explanation
    from athanore.services.status.overview import RunView

_LOOK_EVERY = 0.5
_LATE = timedelta(seconds=10)
_LAST_WORDS = 3.0  # Prefect sends log lines every 2 s
_PAGE = 200
_SHOWN_RUNS = 20
_LEVELS = {10: ("DEBUG", "dim"), 20: ("INFO", ""), 30: ("WARNING", "yellow"), 40: ("ERROR", "red")}


def show(task: TaskId, /, *, app: AppOption = None, json: AsJson = False) -> None:
    """Show a task: description, checklist, comments, and its agent runs."""

    async def action(client: PrefectRunStore, found: App) -> tuple[Task, list[RunView]]:
        from athanore.services.status.overview import run_view

        read = await found.board.task(task)
        return read, [run_view(client, r) for r in await _runs(client, found, read.id, _SHOWN_RUNS)]

    seen, runs = with_app(app, action)
    if json:
        print_json(plain(seen) | {"runs": plain(runs)})
        return
    say(f"{seen.id}  {seen.name}", "bold")
    say(f"in {seen.queue_name!r}" + "".join(f", {a}" for a in seen.assignees))
    if seen.url:
        say(seen.url)
    if seen.labels:
        say(f"labels: {', '.join(seen.labels)}")
    if seen.description:
        say(f"\n{seen.description}")
    for item in seen.tasks:
        say(f"  [{'x' if item.is_completed else ' '}] {item.name}")
    for comment in seen.comments:
        when = "" if comment.created_at is None else f"{ago(comment.created_at)} ago"
        say(f"\n{comment.author or 'somebody'} {when}".rstrip(), "bold dim")
        say(comment.text)
    say("")
    print_table(
        ("run", "route", "state", "attempt", "since", "due", "message"),
        (
            (
                r.run_id[:8],
                r.route,
                state_text(r.state),
                r.attempt,
                f"{ago(r.since)} ago",
                until(r.due),
                r.message.partition("\n")[0],
            )
            for r in runs
        ),
        title="Agent runs",
    )
    if runs:
        say(runs[0].url, "dim")


def explain(task: TaskId, /, *, app: AppOption = None, json: AsJson = False) -> None:
    """Say why a task is where it is: what happens now, what it waits for, what changes that."""

    async def action(client: PrefectRunStore, found: App) -> Explanation:
        from athanore.services.status import explaining

        return await explaining.explain(client, found, await found.board.task(task))

    seen = with_app(app, action)
    if json:
        print_json(
            {
                "task_id": seen.task.id,
                "queue_name": seen.task.queue_name,
                "route": seen.route,
                "reason": seen.reason,
                "until": plain(seen.until),
                "commands": list(seen.commands),
            }
        )
        return
    say(f"{seen.task.id}  {seen.task.name}", "bold")
    route = "" if seen.route is None else f", route {seen.route!r}"
    say(f"in {seen.task.queue_name!r}{route}")
    when = "" if seen.until is None else f" That is {until(seen.until)}."
    say(seen.reason + when)
    for command in seen.commands:
        say(f"  {command}", "dim")


def logs(
    typed: Annotated[str, TASK],
    /,
    *,
    follow: Annotated[
        bool,
        Parameter(name=["--follow", "-f"], negative="", help="Go on until the run is over."),
    ] = False,
    app: AppOption = None,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object a line.")
    ] = False,
    debug: Annotated[
        bool, Parameter(name="--debug", negative="", help="What Prefect's engine says, too.")
    ] = False,
) -> None:
    """Print what the agent of a task's newest run says; --follow goes on through retries."""

    async def action(client: PrefectRunStore, found: App) -> None:
        task = await found.board.id_of(typed)
        newest = await _runs(client, found, task, 1)
        if not newest:
            read = await found.board.task(task)
            raise DispatchError(
                f"Task {task!r} ({read.name}) has had no agent run yet; it is in "
                f"{read.queue_name!r}."
            )
        out = console()
        async for log in _lines(client, newest[0].id, follow):
            if log.level <= logging.DEBUG and not (debug or json):
                continue
            if json:
                out.out(_json_line(log), highlight=False)
            else:
                out.print(_text(log), soft_wrap=True)
        run = await client.read_flow_run(newest[0].id)
        if not json:
            message = ((run.state.message or "") if run.state else "").partition("\n")[0]
            say(f"{run.state_name}: {message}" if message else str(run.state_name), "bold")

    with_app(app, action)


async def _runs(client: PrefectRunStore, app: App, task_id: str, limit: int) -> list[FlowRun]:
    """The task's runs, the newest first."""
    from prefect.client.schemas.sorting import FlowRunSort

    from athanore.runs import store as runs

    states = (*runs.WAITING, *runs.WORKING, *runs.FINISHED)
    return await runs.find_runs(
        client,
        app.name,
        states,
        task_ids=[task_id],
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


async def _lines(client: PrefectRunStore, run_id: UUID, follow: bool) -> AsyncIterator[Log]:
    """Yield a run's log, and with `follow` what comes until the run is over.

    Lines may arrive a little out of order, so the last seconds are read again each time.
    """
    from prefect.client.schemas.filters import (
        LogFilter,
        LogFilterFlowRunId,
        LogFilterTimestamp,
    )

    seen: set[UUID] = set()
    newest: datetime | None = None
    ended: float | None = None
    while True:
        over = not follow or (ended is not None and monotonic() - ended > _LAST_WORDS)
        after = None if newest is None else LogFilterTimestamp(after_=newest - _LATE)
        query = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]), timestamp=after)
        offset = 0
        while page := await client.read_logs(query, limit=_PAGE, offset=offset):
            for log in page:
                if log.id not in seen:
                    seen.add(log.id)
                    newest = log.timestamp if newest is None else max(newest, log.timestamp)
                    yield log
            offset += len(page)
        if over:
            return
        if ended is None and (await client.read_flow_run(run_id)).state_type in _finished():
            ended = monotonic()
        await asyncio.sleep(_LOOK_EVERY)


def _finished() -> tuple[object, ...]:
    from athanore.runs import store as runs

    return runs.FINISHED


def _text(log: Log) -> Text:
    level, style = _LEVELS.get(log.level // 10 * 10, ("CRITICAL", "red"))
    when = log.timestamp.astimezone().strftime("%H:%M:%S")
    return text((f"{when} ", "dim"), (f"{level:<7} ", style or "dim"), (log.message, style))


def _json_line(log: Log) -> str:
    level = _LEVELS.get(log.level // 10 * 10, ("CRITICAL", ""))[0]
    fields = {"timestamp": log.timestamp.isoformat(), "level": level, "message": log.message}
    return as_json(fields)
