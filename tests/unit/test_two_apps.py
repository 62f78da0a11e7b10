"""Two apps in two event loops of one process: they are called the same, and share nothing."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.states import Pending, Running

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.api.service import Service
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.sweeping.sweep import look_once
from athanore.processes import identity
from athanore.runs.records.record import record_of
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.services import runs
from tests.harness import prompt
from tests.memory_store import MemoryRunStore

LOG = logging.getLogger("test")

NO_STATE = (
    type, ModuleType, FunctionType, BuiltinFunctionType, MemberDescriptorType, CodeType,
    MappingProxyType, Enum, str, bytes, int, float, complex, bool, type(None), type(...), UUID,
    date, datetime, timedelta, frozenset, re.Pattern, Path, logging.Logger, type(UTC),
)  # fmt: skip
"""Values, what is written in the code, and the loggers of the process."""


@dataclass
class Site:
    """An app with one route and one task, and a Prefect of its own."""

    app: App
    service: Service
    client: MemoryRunStore
    board: MemoryAdapter


def site(hours: int) -> Site:
    """An app whose Prefect has another time of day; all else is the same for each."""
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    dispatcher = AgentDispatcher("true", name="twin", queue_backend=board, api_port=0)
    dispatcher.route("Todo", done_queue="Done", max_retries=1)(prompt)
    app = App("run.py:dispatcher", dispatcher)
    client = MemoryRunStore()
    tags = [names.app_tag(app.name), names.route_tag("Todo"), names.AGENT_TAG]
    agents = f"{names.AGENT_FLOW}/{names.deployment_name(app.name, 'Todo')}"
    client.deploy(agents, {"queue_name": "Todo", "app": app.reference}, tags)
    client.deploy(
        f"{names.POLL_FLOW}/{names.deployment_name(app.name, 'Todo')}",
        {"queue_name": "Todo", "app": app.reference},
        [*tags[:2], names.POLL_TAG],
    )
    app.clock.heard(format_datetime(datetime.now(UTC) + timedelta(hours=hours)))
    board.create_task("Todo", f"{hours} hours ahead")
    return Site(app, Service(app), client, board)


async def works(it: Site, meet: threading.Barrier) -> None:
    """Have a task dispatched, claimed, failed once, looked after, and done at the second try."""
    client, app, route = it.client, it.app, it.app.dispatcher.routes["Todo"]
    for outcome in (AgentOutcome.FAILED, AgentOutcome.SUCCEEDED):
        task = it.board.get_task("1")
        run = (await runs.dispatch(client, app, task)).run
        for state in (Pending(), Running()):
            await client.propose(run.id, state)
        run = await client.read_run(run.id)
        with app.local_runs.controlled(run.id, "1", run):
            log = RunLog(client, run, route.retry)
            await log.open(identity.process(), "a token", app.version, key=b"a key")
            await app.board.claim("1", "Todo", "In Progress")
            await asyncio.to_thread(meet.wait, 60)  # both are at work on their task 1
            await look_once(client, app)
            result = AgentResult(outcome, "exit code 2")
            ending = await Conclusion(app, route, log, "1", LOG).ended(result)
        await client.propose(run.id, ending)


def in_their_threads(sites: list[Site]) -> None:
    """Run each app in an event loop of its own, at the same time."""
    meet = threading.Barrier(len(sites))
    errors: list[BaseException] = []

    def life(it: Site) -> None:
        try:
            asyncio.run(works(it, meet))
        except BaseException as exc:
            meet.abort()
            errors.append(exc)

    threads = [threading.Thread(target=life, args=(it,)) for it in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise ExceptionGroup("an app failed", [e for e in errors if isinstance(e, Exception)])


def parts(thing: object) -> Iterator[object]:
    """What an object of ours, or a container, holds."""
    if isinstance(thing, dict):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, list | tuple | set):
        yield from thing
    elif isinstance(thing, MethodType):
        yield thing.__self__
    elif type(thing).__module__.startswith(("athanore", "tests")):
        yield from getattr(thing, "__dict__", {}).values()
        for kind in type(thing).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                yield getattr(thing, slot, None)


def held_by(*roots: object) -> dict[int, Any]:
    """All that can be reached from objects and has, or may have, state; by identity."""
    found: dict[int, Any] = {}
    open_ends = list(roots)
    while open_ends:
        thing = open_ends.pop()
        if isinstance(thing, NO_STATE) or id(thing) in found:
            continue
        if thing == ():
            continue  # there is one of them only
        found[id(thing)] = thing
        open_ends += parts(thing)
    return found


def test_two_apps_in_two_loops_share_nothing() -> None:
    sites = [site(hours=0), site(hours=3)]
    in_their_threads(sites)
    for it, hours in zip(sites, (0, 3), strict=True):
        task = it.board.get_task("1")
        assert (task.name, task.queue_name) == (f"{hours} hours ahead", "Done")
        assert [c.text for c in task.comments] == [
            "Retry 1/1: exit code 2. Moving back to source queue for retry."
        ]
        ahead = it.app.clock.now() - datetime.now(UTC)
        assert abs(ahead - timedelta(hours=hours)) < timedelta(minutes=1)
        (run,) = it.client.runs.values()
        assert run.state_type is StateType.COMPLETED
        assert record_of(run).starts == 2
    first, second = (held_by(it.app, it.service, it.client) for it in sites)
    assert len(first) > 100, "the walk has seen the app"
    shared = [f"{type(first[i]).__name__}: {first[i]!r:.200}" for i in first.keys() & second.keys()]
    assert shared == []


def test_what_is_shared_would_be_seen() -> None:
    one, two = site(hours=0), site(hours=0)
    two.app.breaker = one.app.breaker
    shared = held_by(one.app).keys() & held_by(two.app).keys()
    assert id(one.app.breaker) in shared
