"""Whose tasks are: `ownership.owner`, with what it needs read from the board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from athanore.errors import BoardError, MatchError, NotFoundError, TaskNotOursError
from athanore.models import Task
from athanore.queue_adapters.base import HasUser
from athanore.routing.routes import Route
from athanore.runtime.apps import App
from athanore.runtime.routes import ownership
from athanore.runtime.routes.route_registry import Routes


@dataclass(slots=True)
class Owners:
    """Who owns some tasks.

    Attributes:
        routes: the owners' names by the ids of tasks; a task that no route takes is not in it.
        held: why nobody knows whose a task is, by its id.
        unread: why a task could not be read again that had to be, by its id.
    """

    routes: dict[str, str] = field(default_factory=dict[str, str])
    held: dict[str, str] = field(default_factory=dict[str, str])
    unread: dict[str, BoardError] = field(default_factory=dict[str, BoardError])

    @property
    def unknown(self) -> set[str]:
        """The ids of the tasks of which nobody knows now whose they are."""
        return {*self.held, *self.unread}

    def check_readable(self) -> None:
        """See that some of the tasks could be read, if they had to be.

        Raises:
            BoardError: none could, so that it is not a matter of one task.
        """
        if self.unread and not (self.routes or self.held):
            raise next(iter(self.unread.values()))


async def owner_of(app: App, routes: Routes, task: Task, *, is_whole: bool = False) -> Route | None:
    """The owner of a task that was just read.

    Args:
        is_whole: it was read with its comments and its checklist.

    Raises:
        MatchError: a route's `match` fails on the task.
        BoardError: it had to be read again.
    """
    if not is_whole and ownership.needs(routes, task.queue_name):
        read = await app.board.task(task.id)
        task = replace(read, queue_name=task.queue_name)
    adapter = app.board.adapter
    rivals = ownership.watching(routes, task.queue_name)
    asks = any(k.route.assignees for k in rivals)
    if asks and isinstance(adapter, HasUser):
        user = await app.board.call(lambda: adapter.user)
        task = replace(task, assignees=tuple(a for a in task.assignees if a != user))
    if any(k.route.match for k in rivals):  # a function of the user's may take its time
        return await asyncio.to_thread(ownership.owner, routes, task)
    return ownership.owner(routes, task)


async def check_owner(
    app: App, routes: Routes, route: Route, read: Callable[[], Awaitable[Task]]
) -> None:
    """See that a task is a route's before its first claim, where routes take some tasks only.

    Args:
        read: the whole task; it is called only where routes take some tasks only.

    Raises:
        TaskNotOursError: another route takes the task now, or none.
        MatchError: a route's `match` fails on the task.
        BoardError: the task could not be read.
    """
    if not any(k.route.filter for k in ownership.watching(routes, route.queue_name)):
        return
    task = await read()
    if task.queue_name != route.queue_name:
        return  # the claim says so
    owner = await owner_of(app, routes, task, is_whole=True)
    if owner is None or owner.name != route.name:
        raise TaskNotOursError(task.id, route.name, None if owner is None else owner.name)


async def owners(app: App, routes: Routes, tasks: Iterable[Task]) -> Owners:
    """The owners of tasks, each by itself: one that fails is no other's matter."""
    found = Owners()
    for task in tasks:
        try:
            route = await owner_of(app, routes, task)
        except MatchError as exc:
            found.held[task.id] = str(exc)
        except NotFoundError:
            continue
        except BoardError as exc:
            found.unread[task.id] = exc
        else:
            if route is not None:
                found.routes[task.id] = route.name
    return found
