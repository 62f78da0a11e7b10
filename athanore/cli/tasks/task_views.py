"""Commands about one task: show, explain, logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.text import Text

from athanore.cli.at_work import AtWork, find_at_work, from_app, in_path
from athanore.cli.context import AppOption, AsJson, Connected, with_app
from athanore.cli.output import console, plain, print_json, print_table, say
from athanore.cli.tasks.acting import TASK, TaskId
from athanore.cli.tasks.typed import typed_task
from athanore.errors import ConfigurationError, PrefectUnavailableError
from athanore.launch.terminal.display import ago, state_text, text, until, waits_for
from athanore.runs.states import in_short
from athanore.services.showing.views import Explained, LogLine, LogPage, WholeTask
from athanore.texts import as_json

if TYPE_CHECKING:
    from athanore.models import Task
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App

type ReadPage = Callable[[str | None, datetime | None, int], Awaitable[LogPage]]
"""Reads a page of a log: of which run (None: the newest), after when, without how many lines."""

_LOOK_EVERY = 0.5
_LATE = timedelta(seconds=10)
_LAST_WORDS = 3.0  # Prefect sends log lines every 2 s
_LEVELS = {10: ("DEBUG", "dim"), 20: ("INFO", ""), 30: ("WARNING", "yellow"), 40: ("ERROR", "red")}


@typed_task
def show(task: TaskId, /, *, app: AppOption = None, json: AsJson = False) -> None:
    """Show a task: description, checklist, comments, and its agent runs."""

    async def action(client: PrefectRunStore, found: App) -> WholeTask:
        from athanore.services.status.looking import whole_task

        return await whole_task(Connected(client), found, task)

    whole = from_app(app, WholeTask, f"/overview/tasks/{in_path(task)}")
    if whole is None:
        whole = with_app(app, action)
    seen, runs = whole.task, whole.runs
    if json:
        why = {"waits_for": whole.waits_for, "until": plain(whole.until)}
        print_json(plain(seen) | {"runs": plain(runs)} | why)
        return
    say(f"{seen.id}  {seen.name}", "bold")
    say(f"in {seen.queue_name!r}" + "".join(f", {a}" for a in seen.assignees))
    if seen.url:
        say(seen.url)
    if said := _of_the_board(seen):
        say(said)
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
        wraps="message",
    )
    if runs:
        say(runs[0].url, "dim")
    if whole.waits_for:
        say(waits_for(whole.waits_for, whole.until))


def _of_the_board(task: Task) -> str:
    """Who made a task, when, and how urgent it is, as far as the board says it."""
    made = f"by {task.author}" if task.author else ""
    if task.created_at is not None:
        made += f"{' ' if made else ''}on {task.created_at:%Y-%m-%d}"
    urgency = f"priority: {task.priority}" if task.priority else ""
    return ", ".join(filter(None, (made, urgency)))


@typed_task
def explain(task: TaskId, /, *, app: AppOption = None, json: AsJson = False) -> None:
    """Say why a task is where it is: what happens now, what it waits for, what changes that."""

    async def action(client: PrefectRunStore, found: App) -> Explained:
        from athanore.services.status.looking import explained

        return await explained(client, found, task)

    seen = from_app(app, Explained, f"/tasks/{in_path(task)}/explanation")
    if seen is None:
        seen = with_app(app, action)
    if json:
        print_json(seen)
        return
    say(f"{seen.task_id}  {seen.task_name}", "bold")
    route = "" if seen.route is None else f", route {seen.route!r}"
    say(f"in {seen.queue_name!r}{route}")
    when = "" if seen.until is None else f" That is {until(seen.until)}."
    say(seen.reason + when)
    for command in seen.commands:
        say(f"  {command}", "dim")


def logs(
    task: Annotated[str | None, TASK] = None,
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
    """Print what the agent of a task's newest run says; --follow goes on through retries.

    Without TASK, `logs -f` prints what all agents of the app that runs here say, from ten seconds
    ago on, a colour for each.
    """
    if task is None:
        if not follow:
            raise ConfigurationError("Say which task: athanore logs TASK. Of all agents: logs -f.")
        from athanore.cli.tasks.following import follow_all

        follow_all(app, json_lines=json)
        return
    _log(task, follow=follow, app=app, json=json, debug=debug)


@typed_task
def _log(typed: str, /, *, follow: bool, app: str | None, json: bool, debug: bool) -> None:
    async def show(read: ReadPage) -> None:
        out, said = console(), ""
        last: LogPage | None = None
        async for last in _pages(read, follow):
            for line in last.lines:
                if line.level <= logging.DEBUG and not (debug or json):
                    continue
                if json:
                    out.out(_json_line(line), highlight=False)
                else:
                    out.print(_text(line), soft_wrap=True)
                if line.level > logging.DEBUG:
                    said = line.message
        if last is not None and not json:
            now = in_short(last.state, last.message)
            if now != said:
                say(now, "bold")

    async def action(client: PrefectRunStore, found: App) -> None:
        from athanore.services.status.looking import log_page

        async def read(run: str | None, after: datetime | None, offset: int) -> LogPage:
            run_id = None if run is None else UUID(run)
            return await log_page(Connected(client), found, typed, run_id, after, offset)

        await show(read)

    here = find_at_work(app)
    if here is None or not asyncio.run(_show_from(here, typed, show)):
        with_app(app, action)


async def _show_from(here: AtWork, task: str, show: Callable[[ReadPage], Awaitable[None]]) -> bool:
    """Show a log that the app tells; False if it does not begin to."""
    path = f"/overview/tasks/{in_path(task)}/log"
    first = here.ask(LogPage, path)
    if first is None:
        return False

    async def read(run: str | None, after: datetime | None, offset: int) -> LogPage:
        page = here.ask(LogPage, path, run=run, after=after, offset=offset) if run else first
        if page is None:
            raise PrefectUnavailableError("The app does not tell any more of the log.")
        return page

    await show(read)
    return True


async def _pages(read: ReadPage, follow: bool) -> AsyncIterator[LogPage]:
    """Yield a run's log, and with `follow` what comes until the run is over.

    Lines may arrive a little out of order, so the last seconds are read again each time; each is
    yielded once.
    """
    seen: set[str] = set()
    run: str | None = None
    newest: datetime | None = None
    ended: float | None = None
    while True:
        over = not follow or (ended is not None and monotonic() - ended > _LAST_WORDS)
        after = None if newest is None else newest - _LATE
        offset = 0
        while True:
            page = await read(run, after, offset)
            run = page.run_id
            offset += len(page.lines)
            new = tuple(line for line in page.lines if line.id not in seen)
            seen.update(line.id for line in new)
            for line in new:
                newest = line.timestamp if newest is None else max(newest, line.timestamp)
            yield replace(page, lines=new)
            if not page.lines:
                break
        if over:
            return
        if ended is None and page.is_over:
            ended = monotonic()
        await asyncio.sleep(_LOOK_EVERY)


def _text(log: LogLine) -> Text:
    level, style = _LEVELS.get(log.level // 10 * 10, ("CRITICAL", "red"))
    when = log.timestamp.astimezone().strftime("%H:%M:%S")
    return text((f"{when} ", "dim"), (f"{level:<7} ", style or "dim"), (log.message, style))


def _json_line(log: LogLine) -> str:
    level = _LEVELS.get(log.level // 10 * 10, ("CRITICAL", ""))[0]
    fields = {"timestamp": log.timestamp.isoformat(), "level": level, "message": log.message}
    return as_json(fields)
