"""What keeps a task from being dispatched though it has a route: tasks that are to end first, and
labels that have as many agents as they may.

A hold never cancels a run, and never changes whose a task is. It is looked at before the task's run
is made; from its first claim on a run keeps its task.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prefect.client.schemas.objects import FlowRun

from athanore.errors import BoardError, NotFoundError
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.capacity import label_caps
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes

_LINE = re.compile(r"^[ \t]*(?:[-*][ \t]*)?blocked by:?[ \t]+(.+)$", re.IGNORECASE | re.MULTILINE)
_BETWEEN = re.compile(r"[\s,;&]+")
_ID = re.compile(r"#?([\w-]+)[.:]?")
_MOST = 20
"""How many blockers of one task are looked at."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a task is not dispatched now.

    Attributes:
        reason: a plain sentence.
        blockers: the ids of the tasks that are to end first.
    """

    reason: str
    blockers: tuple[str, ...]


@dataclass(slots=True)
class Holds:
    """Looks after the holds of some tasks; what it has read of a blocker it reads no second time.

    Attributes:
        app: the app.
        routes: its routes.
        known: tasks that were just read, by id.
        busy: how many runs count for each limited label; None where that was not looked at.
        reads: what is not known is read from the board; else all open tasks are known.
        remarks: what could not be read, in sentences.
        unread: why a task could not be read, by its id.
    """

    app: App
    routes: Routes
    busy: Counter[str] | None = None
    reads: bool = True
    known: dict[str, Task | None] = field(default_factory=dict[str, Task | None])
    remarks: list[str] = field(default_factory=list[str])
    unread: dict[str, str] = field(default_factory=dict[str, str])

    def has_read(self, tasks: Iterable[Task]) -> None:
        """Take tasks that were just read from the board."""
        self.known.update((t.id, t) for t in tasks)

    async def look_at_labels(self, prefect: RunStore) -> None:
        """Read how many runs count for each label, where a route limits one."""
        if self.busy is None and any(k.route.label_limits for k in self.routes.values()):
            now = self.app.clock.now()
            self.busy = await label_caps.open_by_label(prefect, self.app.name, now)

    def has_seen(self, runs: Iterable[FlowRun]) -> None:
        """Take the runs that are open, which were just read."""
        if self.busy is None:
            self.busy = label_caps.tally(runs, self.app.clock.now())

    def starts(self, route: Route, task: Task) -> None:
        """Count a task that gets its run now."""
        if self.busy is not None:
            self.busy.update(label_caps.limits_of(route, task).keys())

    async def of(self, route: Route, task: Task) -> Hold | None:
        """What keeps a task of a route from being dispatched; None if nothing does.

        A blocker that is gone, or cannot be read, holds nothing.
        """
        limits = label_caps.limits_of(route, task) if self.busy is not None else {}
        if self.busy is not None and (full := label_caps.full(limits, self.busy)):
            return Hold(f"{full}.", ())
        if not route.respect_blockers:
            return None
        open_: list[Task] = []
        for blocker_id in blockers_of(task):
            blocker = await self._read(task, blocker_id)
            if blocker is not None and blocker.id != task.id and self._blocks(route, blocker):
                open_.append(blocker)
        if not open_:
            return None
        named = ", ".join(f"{b.id} ({b.name!r}, in {b.queue_name!r})" for b in open_)
        reason = f"It is blocked by task{'s' if len(open_) > 1 else ''} {named}."
        if circle := await self._circle(route, task):
            reason += f" They block each other: {' -> '.join(circle)}."
        return Hold(reason, tuple(b.id for b in open_))

    def unread_blockers(self, route: Route, task: Task) -> str:
        """Say in sentences which blockers of a task that was looked at could not be read."""
        named = blockers_of(task) if route.respect_blockers else []
        return "".join(
            f" Task {blocker!r} is to end before it, cannot be read, and holds nothing: "
            f"{self.unread[blocker].rstrip('.')}."
            for blocker in named
            if blocker in self.unread
        )

    async def _circle(self, route: Route, task: Task) -> list[str]:
        """The way from a task over what blocks it back to itself; empty if there is none."""
        ways = [[task.id]]
        seen = {task.id}
        while ways:
            way = ways.pop(0)
            last = await self._read(task, way[-1])
            if last is None or not self._blocks(route, last):
                continue
            for blocker in blockers_of(last):
                if blocker == task.id:
                    return [*way, blocker]
                if blocker not in seen and len(seen) < _MOST:
                    seen.add(blocker)
                    ways.append([*way, blocker])
        return []

    async def _read(self, task: Task, task_id: str) -> Task | None:
        if task_id not in self.known:
            if not self.reads:
                return None
            try:
                self.known[task_id] = await self.app.board.task(task_id)
            except NotFoundError:
                self.known[task_id] = None
            except BoardError as exc:
                self.known[task_id] = None
                self.unread[task_id] = str(exc)
                self.remarks.append(f"task {task_id!r}, which blocks {task.id!r}: {exc}")
        return self.known[task_id]

    def _blocks(self, held: Route, task: Task) -> bool:
        """Whether a task still has to end: it waits, an agent works on it, or it was given up.

        Args:
            held: the route of what it blocks, which may say where it blocks no more.
        """
        if held.unblocking_queues:
            return task.queue_name not in held.unblocking_queues
        for known in self.routes.values():
            route = known.route
            if task.queue_name in (route.queue_name, route.in_progress_queue):
                return True
            if route.dead_letter_queue and task.queue_name == route.dead_letter_queue:
                return True
        return False


def blockers_of(task: Task) -> list[str]:
    """The ids of the tasks that are to end before this one.

    The board's own relations count, and lines such as `Blocked by: #12, #13` of the description.
    """
    said = [task_id for line in _LINE.findall(task.description) for task_id in _ids(line)]
    return [i for i in dict.fromkeys([*task.blocked_by, *said]) if i != task.id][:_MOST]


def _ids(line: str) -> Iterator[str]:
    """The ids at the beginning of a line; what follows the first other word is prose."""
    for word in _BETWEEN.split(line.strip()):
        if word.lower() == "and" or not word:
            continue
        found = _ID.fullmatch(word)
        if found is None or not any(c.isdigit() for c in word):
            return
        yield found[1]
