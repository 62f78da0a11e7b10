"""Pull requests that were opened for tasks, in Prefect: one variable for each task.

It survives every restart, and any worker of the app can go on from it. docs/formats.md has the
shape. A variable of Prefect takes 5,000 characters: what is quoted is cut until it fits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter, ValidationError

from athanore.runs.port import RunStore

_TAG = "athanore-pull"
_LONGEST = 4800
_SEEN = 12


@dataclass(frozen=True, slots=True)
class OpenPull:
    """A pull request that was opened for a task, and is not merged or closed.

    Attributes:
        app, route, task: whose it is.
        number, url: as the forge says.
        commit: what was published last.
        seen: the signatures of what was reacted to, the newest last.
        reactions: how often the task was put back for it.
        feedback: what the next agent is told; "" after what it did is published.
        conflicts: the next agent is to have the base as it is now in its folder.
        said: what is due to be said on the card before the task is put back; "" if nothing is.
        is_given_up: a person has to look at it; nothing is reacted to.
    """

    app: str
    route: str
    task: str
    number: int
    url: str
    commit: str
    seen: tuple[str, ...] = ()
    reactions: int = 0
    feedback: str = ""
    conflicts: bool = False
    said: str = ""
    is_given_up: bool = False


_PULL = TypeAdapter(OpenPull)


async def published(prefect: RunStore, pull: OpenPull) -> None:
    """Note that a pull request is there for what an agent has done now."""
    before = await of_task(prefect, pull.app, pull.task)
    if before is not None and before.number == pull.number:
        again = replace(before, route=pull.route, commit=pull.commit, url=pull.url)
        pull = replace(again, feedback="", conflicts=False, said="", is_given_up=False)
        if before.is_given_up:  # a person had it go on
            pull = replace(pull, reactions=0)
    await keep(prefect, pull)


async def keep(prefect: RunStore, pull: OpenPull) -> None:
    """Keep what is known of a pull request."""
    pull = replace(pull, seen=pull.seen[-_SEEN:])
    while len(json.dumps(value := _PULL.dump_python(pull, mode="json"))) > _LONGEST:
        pull = replace(pull, feedback=pull.feedback[len(pull.feedback) // 8 + 1 :])
    await prefect.keep(_name(pull.app, pull.task), value, [_TAG, _of_app(pull.app)])


async def of_task(prefect: RunStore, app: str, task: str) -> OpenPull | None:
    """The pull request of a task; None if none is open."""
    kept = await prefect.value(_name(app, task))
    return None if kept is None else _parse(kept.value)


async def all_open(prefect: RunStore, app: str) -> Sequence[OpenPull]:
    """All pull requests of an app that are open."""
    found = [_parse(kept.value) for kept in await prefect.values([_TAG, _of_app(app)])]
    return [pull for pull in found if pull is not None and pull.app == app]


async def forget(prefect: RunStore, pull: OpenPull) -> None:
    """Forget one that is merged or closed."""
    await prefect.forget(_name(pull.app, pull.task))


async def take_turn(prefect: RunStore, app: str, now: datetime, pause: timedelta) -> bool:
    """Tell whether a worker looks now; of several workers one does.

    Args:
        pause: from one look to the next.
    """
    name = f"{_TAG}s-{sha256(app.encode()).hexdigest()[:32]}"
    last = await prefect.value(name)
    if last is not None and last.updated is not None and now - last.updated < pause * 0.7:
        return False
    await prefect.keep(name, now.isoformat())
    return True


def _parse(value: Any) -> OpenPull | None:
    try:
        return _PULL.validate_python(value)
    except ValidationError:
        return None  # of another version


def _name(app: str, task: str) -> str:
    return f"{_TAG}-{sha256(json.dumps([app, task]).encode()).hexdigest()[:32]}"


def _of_app(app: str) -> str:
    return f"app:{app}"
