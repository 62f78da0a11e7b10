"""Tasks as people type them: the beginning of an id, or a part of a title that only one has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from athanore.cli.at_work import find_at_work
from athanore.cli.output import warn
from athanore.errors import ConfigurationError, NotFoundError, TaskNotFoundError
from athanore.services.showing.views import OpenTask

_SHOWN = 5


def typed_task[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Have a command whose first argument is a task take a beginning or a title for its id.

    It is looked for when the board knows no such id, so ids cost nothing more; what was taken is
    said on stderr. The command is then called a second time: what must be done once, such as
    reading standard input, is done by who calls it.
    """

    @functools.wraps(command)
    def taking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except NotFoundError as exc:
            task = args[0] if args else None
            if not isinstance(task, str):
                raise
            named = kwargs.get("app")
            tasks = _open_tasks(named if isinstance(named, str) else None, exc)
            if (found := meant(task, tasks)) is None:
                raise
            warn(f"Task {found!r} ({tasks[found]}).")
            again: Any = command  # with another task for its first argument
            return again(found, *args[1:], **kwargs)

    return taking


def meant(typed: str, tasks: Mapping[str, str]) -> str | None:
    """The id of the task that somebody means; None if none is called so.

    Args:
        tasks: names by id.

    Raises:
        ConfigurationError: several may be meant.
    """
    wanted = typed.strip().casefold()
    if typed in tasks or not wanted:
        return None
    by_id = [task_id for task_id in tasks if _begins(task_id, wanted)]
    # Where ids are numbers, a number is one, and no part of a title.
    is_id = wanted.isdecimal() and any(map(str.isdecimal, tasks))
    by_name = [] if is_id else [i for i, name in tasks.items() if wanted in name.casefold()]
    found = by_id or by_name
    if len(found) > 1:
        shown = ", ".join(f"{i!r} ({tasks[i]})" for i in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConfigurationError(f"{typed!r} may be several tasks: {shown}{more}. Name one by id.")
    return found[0] if found else None


def _begins(task_id: str, wanted: str) -> bool:
    """Whether an id begins so. A number is no beginning of another: who types 4 means no 41."""
    numbers = task_id.isdecimal() and wanted.isdecimal()
    return not numbers and task_id.casefold().startswith(wanted)


def _open_tasks(app: str | None, exc: NotFoundError) -> Mapping[str, str]:
    if isinstance(exc, TaskNotFoundError) and exc.existing:
        return exc.existing
    here = find_at_work(app)
    seen = None if here is None else here.ask(tuple[OpenTask, ...], "/overview/tasks")
    return {t.task.id: t.task.name for t in seen or ()}
