"""How things look on a terminal: tables, times, states, and an app as a whole, live if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from athanore.errors import reason
from athanore.launch.terminal.tables import FittedTable
from athanore.runs.states import PrefectState, StateName
from athanore.services.showing.views import origin
from athanore.texts import cut, duration, shown

if TYPE_CHECKING:
    from athanore.launch.terminal.ending import LastLine
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.services.showing.route_views import ScheduleView
    from athanore.services.showing.views import (
        NeedsPerson,
        NotStarted,
        Overview,
        RouteView,
        RunView,
    )

type Cell = str | Text | int | None

_MAX_CELL = 300
_SHOWN_MATTERS = 10
_LOOK_EVERY = 3.0
_PATIENCE = 10.0
"""Seconds after which an answer that is still to come is missed."""
_REDRAWN_A_SECOND = 2


def text(*parts: str | tuple[str, str]) -> Text:
    """Words for a terminal, each with a style if wanted: what they hold is shown and not obeyed."""
    styled = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((shown(words), style) for words, style in styled))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    cut: Sequence[str] = (),
    keep: Sequence[str] = (),
    wraps: str | None = None,
) -> FittedTable:
    """Rows under headings; texts are taken as they are, never as markup; very long ones are cut.

    Args:
        cut: see `FittedTable`.
        keep: see `FittedTable`.
        wraps: see `FittedTable`; the cells of other columns are brought onto one line.
    """

    def drawn(column: str, value: Cell) -> Text:
        if isinstance(value, Text):
            return value
        words = _cell(value)
        return text(words if column == wraps else " ".join(words.split()))

    found = [[drawn(*cell) for cell in zip(columns, row, strict=True)] for row in rows]
    return FittedTable(columns, found, cut=cut, keep=keep, wraps=wraps)


def _cell(value: str | int | None) -> str:
    return "" if value is None else cut(str(value), _MAX_CELL)


def ago(moment: datetime | None) -> str:
    """The time since a moment: `45 s`, `12 min`, `3 h`, `2 d`."""
    return "" if moment is None else duration((datetime.now(UTC) - moment).total_seconds())


def until(moment: datetime | None) -> str:
    """The time until a moment; `now` if it has come."""
    if moment is None:
        return ""
    left = (moment - datetime.now(UTC)).total_seconds()
    return "now" if left <= 0 else f"in {duration(left)}"


def waits_for(reason: str, moment: datetime | None) -> str:
    """What something waits for, and how long that takes where it is known."""
    return reason if moment is None else f"{reason} ({until(moment)})"


def state_text(state: str) -> Text:
    """A state in its colour."""
    styles = {
        PrefectState.RUNNING: "green",
        PrefectState.COMPLETED: "green",
        PrefectState.FAILED: "red",
        PrefectState.CRASHED: "red",
        PrefectState.TIMED_OUT: "red",
        StateName.STALLED: "red",
        PrefectState.CANCELLED: "dim",
        PrefectState.CANCELLING: "yellow",
        PrefectState.AWAITING_RETRY: "yellow",
        PrefectState.AWAITING_SLOT: "yellow",
        PrefectState.LATE: "yellow",
        "paused": "yellow",
    }
    return text((state, styles.get(state.split(" ")[0], "")))


def overview_view(
    seen: Overview, rows: int | None = None, no_worker: str = "none online; start `athanore worker`"
) -> RenderableType:
    """An app as a whole: routes, what runs and waits, dead letters.

    Args:
        rows: at most so many runs; those at work come first. By default all of them.
        no_worker: what is said where no worker is online.
    """
    limit = "" if seen.limit is None else f" of {seen.limit}"
    columns = ("route", "tasks", "waiting", "working", "retrying", "")
    parts: list[RenderableType] = [
        text(
            (seen.app, "bold"),
            f": {seen.working}{limit} agents at work; workers: ",
            ", ".join(seen.workers) if seen.workers else (no_worker, "yellow"),
        ),
        text((f"Prefect: {seen.ui_url}\n", "dim")),
        table(columns, map(_route_row, seen.routes), wraps=""),
    ]
    if seen.schedules:
        parts.append(table(("schedule", "queue", "next"), map(_schedule_row, seen.schedules)))
    if seen.runs or seen.not_started:
        order = sorted(seen.runs, key=_rank)
        queues = {route.name: route.queue_name for route in seen.routes}
        columns = ("task", "name", "queue", "route", "state", "time", "says")
        lines = [_run_row(run, queues.get(run.route, "")) for run in order]
        lines += map(_not_started_row, seen.not_started)
        columns, lines = _without_empty("route", columns, lines)
        kept = ("task", "queue", "state", "time")
        parts.append(table(columns, lines[:rows], cut=("says", "name"), keep=kept))
        if rows is not None and len(lines) > rows:
            parts.append(
                text((f"and {len(lines) - rows} more; `athanore status --json` has all", "dim"))
            )
    if seen.dead_letters:
        count = len(seen.dead_letters)
        letters = f"{count} dead letter{'' if count == 1 else 's'}; see `athanore dead-letters`."
        parts.append(text((letters, "red")))
    if seen.needs_person:
        parts.append(_needs_person(seen.needs_person))
    if seen.board_error:
        parts.append(text((f"The board cannot be read: {seen.board_error}", "yellow")))
    for limit in seen.provider_limits:
        parts.append(text((limit.in_words(), "yellow")))
    for quota in seen.board_quotas:
        at = f"{quota.resets_at.astimezone():%H:%M}"
        left = f"The board takes {quota.remaining} of {quota.limit} more ({quota.name}) until {at}."
        from athanore.http_client.quotas import LOW  # which imports httpx

        is_low = quota.remaining < quota.limit * LOW
        said = " It is read less often meanwhile." if is_low else ""
        parts.append(text((left + said, "yellow" if is_low else "dim")))
    return Group(*parts)


def _needs_person(matters: Sequence[NeedsPerson]) -> Text:
    """What waits for a person, each with what mends it."""
    count = len(matters)
    head = "1 thing needs a person:" if count == 1 else f"{count} things need a person:"
    found = text((head, "yellow"))
    for matter in matters[:_SHOWN_MATTERS]:
        found.append_text(text(f"\n  {cut(matter.says, _MAX_CELL)}\n    ", (matter.mend, "bold")))
    if count > _SHOWN_MATTERS:
        more = f"\n  and {count - _SHOWN_MATTERS} more; `athanore status --json` has all"
        found.append_text(text((more, "dim")))
    return found


async def show_live(
    screen: Console,
    client: PrefectRunStore,
    app: App,
    *,
    has_workers: bool = False,
    line: LastLine | None = None,
) -> None:
    """Show how an app is doing until cancelled; what is printed meanwhile appears above.

    The picture is read every 3 s; times go on in between, and not while Prefect is away.

    Args:
        has_workers: this process has the app's workers, of which Prefect may not know yet.
        line: is shown above, as far as it fits, while it says something.
    """
    import asyncio

    from athanore.launch.terminal.ending import LastLine
    from athanore.services.status.overview import overview

    picture = _Picture(screen, line or LastLine(), has_workers=has_workers)
    loop = asyncio.get_running_loop()
    with Live(
        console=screen,
        get_renderable=picture.draw,
        refresh_per_second=_REDRAWN_A_SECOND,
        transient=True,
    ):
        while True:
            slow = loop.call_later(_PATIENCE, picture.freeze, f"no answer in {_PATIENCE:g} s")
            try:
                picture.see(await overview(client, app))
            except Exception as exc:  # a view must not end what it shows
                picture.freeze(reason(exc))
            finally:
                slow.cancel()
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # a library kept it to itself
            await asyncio.sleep(_LOOK_EVERY)


class _Picture:
    """An app as it was seen last; its times stand still while it is not known how it is now."""

    def __init__(self, screen: Console, line: LastLine, *, has_workers: bool) -> None:
        self._screen = screen
        self._line = line
        self._has_workers = has_workers
        self._seen: Overview | None = None
        self._frozen: RenderableType | None = None
        self._trouble = ""

    def see(self, seen: Overview) -> None:
        self._seen, self._frozen, self._trouble = seen, None, ""

    def freeze(self, why: str) -> None:
        if self._seen is not None and self._frozen is None:
            at = f"{datetime.now().astimezone():%H:%M:%S}"
            self._frozen = Group(self._view(self._seen), text((f"This is of {at}.", "yellow")))
        self._trouble = f"Prefect does not tell how it is now: {why}"

    def draw(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._line.text:
            line = text((self._line.text, "bold"))
            line.no_wrap, line.overflow = True, "ellipsis"
            parts.append(line)
        if self._seen is not None:
            parts += ["", self._view(self._seen) if self._frozen is None else self._frozen]
        if self._trouble:
            parts.append(text((self._trouble, "yellow")))
        return Group(*parts)

    def _view(self, seen: Overview) -> RenderableType:
        rows = max(3, self._screen.height // 2 - len(seen.routes))
        if self._has_workers:
            return overview_view(seen, rows, "starting")
        return overview_view(seen, rows)


def _rank(run: RunView) -> int:
    """Those at work first, then retries, then the rest."""
    return 0 if run.due is None else 1 if run.state == PrefectState.AWAITING_RETRY else 2


def _route_row(route: RouteView) -> tuple[Cell, ...]:
    if not route.deployed:
        state = text(("not deployed", "red"))
    elif route.paused:
        state = state_text(f"paused ({', '.join(route.paused)})")
        if route.pause_reason:
            state.append_text(text(f"\n{route.pause_reason}"))
    else:
        state = text((origin(route.source, route.changed), "dim"))
    tasks = "?" if route.tasks is None else route.tasks
    name = route.name
    if name != route.queue_name:
        name += f" (queue {route.queue_name})"
    return name, tasks, route.waiting, route.working, route.retrying, state


def _schedule_row(schedule: ScheduleView) -> tuple[Cell, ...]:
    if not schedule.deployed:
        state = text(("not deployed", "red"))
    elif schedule.paused:
        state = state_text("paused")
    else:
        state = text(until(schedule.next))
    return schedule.name, schedule.queue_name, state


def _not_started_row(task: NotStarted) -> tuple[Cell, ...]:
    waits = " ".join(waits_for(task.waits_for, task.until).split())
    said = text((cut(waits, _MAX_CELL), "dim"))
    queue, route = task.queue_name, task.route or ""
    state = text(("no run yet", "dim"))
    return task.task_id, task.task_name, queue, _if_other(route, queue), state, "", said


def _without_empty(
    name: str, columns: tuple[str, ...], lines: list[tuple[Cell, ...]]
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """Columns and lines without a column that says nothing in any line."""
    at = columns.index(name)
    if any(line[at] for line in lines):
        return columns, lines
    return columns[:at] + columns[at + 1 :], [line[:at] + line[at + 1 :] for line in lines]


def _if_other(route: str, queue: str) -> str:
    """The name of a route, where it is not that of its queue."""
    return "" if route == queue else route


def _run_row(run: RunView, queue: str) -> tuple[Cell, ...]:
    said = waits_for(run.waits_for, run.until) if run.waits_for else run.last_line
    return (
        run.task_id,
        run.name,
        queue,
        _if_other(run.route, queue),
        run_state(run),
        run_time(run),
        text((cut(" ".join(said.split()), _MAX_CELL), "dim")),
    )


def run_state(run: RunView) -> Text:
    """The state of a run, and its attempt if that is not the first one."""
    state = state_text(run.state)
    return state.append(f", attempt {run.attempt}", "dim") if run.attempt > 1 else state


def run_time(run: RunView) -> str:
    """How long a run has been in its state; of one that waits, when it is due."""
    return ago(run.since) if run.due is None else until(run.due)
