"""What a start would do with the tasks that are on the board now: read, and nothing changed.

Prefect is not asked: what runs already, a route that is paused, or one that was made over HTTP is
not known here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from athanore.errors import MatchError, NotFoundError
from athanore.models import Task
from athanore.routing.routes import Route, ranked
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import watched
from athanore.services.holds import Holds
from athanore.services.owners import owner_of
from athanore.services.status.reasons import nobody_takes

_GATE = (
    'It would be claimed, and wait for an approval (approve_before="start"): no agent starts '
    "before an operator says yes."
)


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of a task.

    Attributes:
        task: as the board lists it.
        route: the name of its route; None if no route takes it.
        starts: whether its agent starts at once.
        says: the prompt of an agent that starts, else why none does.
    """

    task: Task
    route: str | None
    starts: bool
    says: str


async def plan(app: App) -> list[Planned]:
    """Say what would become of each task in the watched queues: those that start first, in order.

    The agents of a route start in the board's order, routes in that of their priority.

    Raises:
        BoardError: the board cannot be read.
    """
    routes = app.routes.in_code()
    seen = await app.board.ready_tasks(watched(routes))
    holds = Holds(app, routes)
    holds.has_read(seen)
    holds.has_seen(())
    mine: dict[str, list[Task]] = {}
    left: list[Planned] = []
    for task in seen:
        try:
            route = await owner_of(app, routes, task)
        except MatchError as exc:
            left.append(Planned(task, None, False, str(exc)))
        except NotFoundError:
            continue  # it has just gone
        else:
            if route is None:
                left.append(Planned(task, None, False, nobody_takes(task, routes)))
            elif (hold := await holds.of(route, task)) is not None:
                left.append(Planned(task, route.name, False, hold.reason))
            else:
                mine.setdefault(route.name, []).append(task)
    slots, busy = app.dispatcher.settings.max_concurrent_agents, Counter[str]()
    starts: list[Planned] = []
    waits: list[Planned] = []
    for route in ranked(k.route for k in routes.values()):
        for task in mine.get(route.name, ()):
            if route.approve_before == "start":
                why = _GATE
            elif route.max_concurrent is not None and busy[route.name] >= route.max_concurrent:
                why = _taken(route.max_concurrent, "route")
            elif busy.total() >= slots:
                why = _taken(slots, "app")
            elif (hold := await holds.of(route, task)) is not None:
                why = hold.reason
            else:
                holds.starts(route, task)
                busy[route.name] += 1
                starts.append(await _start(app, route, task))
                continue
            waits.append(Planned(task, route.name, False, why))
    return [*starts, *waits, *left]


def _taken(limit: int, whose: str) -> str:
    if limit == 1:
        return f"The {whose}'s one agent is at work by then."
    return f"All {limit} agents of the {whose} are at work by then."


async def _start(app: App, route: Route, task: Task) -> Planned:
    """An agent that starts: its prompt is written as it would be, secrets replaced."""
    try:
        where = route.workspace.preview(app.name, task) if route.workspace else None
        prompt = await route.make_prompt(await app.board.task(task.id), 1, where)
    except Exception as exc:
        why = f"The prompt function raises {type(exc).__name__}: {exc}; the task would be given up."
        return Planned(task, route.name, False, why)
    return Planned(task, route.name, True, app.redactor.text(prompt))
