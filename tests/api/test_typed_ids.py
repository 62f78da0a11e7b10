"""An agent may call its own task as people do: `ENG-12`."""

from __future__ import annotations

from uuid import uuid4

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.api.problems import Problem
from athanore.api.security.auth import Caller, Role
from athanore.api.service import Service
from athanore.api.tools import Call
from athanore.errors import TaskNotFoundError
from athanore.runtime.apps import App
from tests.api.conftest import OPERATOR


class Named(MemoryAdapter):
    """A board whose tasks are called `ENG-<id>`, and that counts who asks for them."""

    def __init__(self) -> None:
        super().__init__(["Todo", "Done"])
        self.asked = 0

    def id_of(self, text: str) -> str:
        self.asked += text.startswith("ENG-")
        return self.get_task(text.removeprefix("ENG-")).id if text.startswith("ENG-") else text


@pytest.fixture
def board() -> Named:
    return Named()


@pytest.fixture
def call(board: Named, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A call of an agent that has a task, where tokens are required."""
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", OPERATOR)
    app = App("run.py:dispatcher", AgentDispatcher(name="typed", queue_backend=board))
    own = board.create_task("Todo", "Fix it").id
    board.create_task("Todo", "Somebody else's")
    return Call(Service(app), Caller(Role.AGENT, own, uuid4(), "Todo", "Todo", 1, 1))


async def test_its_own_task_is_known_by_what_people_call_it(call: Call, board: Named) -> None:
    own = call.caller.task_id
    assert own is not None
    assert await call.own_task(f"ENG-{own}") == own
    await call.service.gate.check_write(call.caller, f"/tasks/ENG-{own}/move", f"ENG-{own}")
    before = board.asked
    assert await call.own_task(own) == await call.own_task(None) == own
    assert board.asked == before, "for the id itself the board is not asked"


async def test_a_task_of_others_is_refused_whether_there_is_one_or_not(call: Call) -> None:
    (other,) = [t.id for t in call.service.app.dispatcher.board.get_ready_tasks(["Todo"])][1:]
    told: set[str] = set()
    for task_id in (other, f"ENG-{other}", "ENG-404", "404"):
        with pytest.raises(Problem) as refused:
            await call.own_task(task_id)
        assert refused.value.status == 403
        told.add(str(refused.value.document()))
        with pytest.raises(Problem):
            await call.service.gate.check_write(call.caller, f"/tasks/{task_id}/move", task_id)
    assert len(told) == 1
    with pytest.raises(Problem):
        own = f"ENG-{call.caller.task_id}"
        await call.service.gate.check_write(call.caller, f"/tasks/{own}/requeue", own)


async def test_whoever_reads_may_call_a_task_so(call: Call) -> None:
    assert await call.any_task(f"ENG-{call.caller.task_id}") == call.caller.task_id
    with pytest.raises(TaskNotFoundError):
        await call.any_task("ENG-404")
