"""A key is unique to who sends it: the same key of somebody else is another task."""

from __future__ import annotations

from uuid import uuid4

from fastapi import Response

from athanore import AgentDispatcher, MemoryAdapter
from athanore.api.models import TaskRequest
from athanore.api.routers.tasks import create_task
from athanore.api.security.auth import Caller, Role
from athanore.api.service import Service
from athanore.runtime.apps import App


async def test_a_task_is_created_once_for_each_who_asks_with_the_same_key() -> None:
    board = MemoryAdapter(["Backlog"])
    app = App("run.py:dispatcher", AgentDispatcher("true", name="keys", queue_backend=board))
    service, body = Service(app), TaskRequest(queue_name="Backlog", name="Write tests")

    async def created(caller: Caller) -> str:
        return (await create_task(body, service, caller, Response(), "tests")).id

    run = uuid4()
    first = await created(Caller(Role.AGENT, "7", run, attempt=1))
    assert await created(Caller(Role.AGENT, "7", run, attempt=2)) == first, "a repeat"
    others = [
        Caller(Role.AGENT, "8", uuid4(), attempt=1),
        Caller(Role.PERSON, key_name="eve"),
        Caller(Role.PERSON, key_name="bob"),
        Caller(Role.OPERATOR),
        Caller(Role.ANYBODY),
    ]
    ids = [await created(caller) for caller in others]
    assert len({first, *ids}) == 6
    assert [await created(caller) for caller in others] == ids
