"""ScriptedAgent does what its script says; what all agents do is in the contract suite."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.scripted import Emit, Fail, Say, ScriptedAgent, Succeed, Wait
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Task
from athanore.routing.routes import Route


def prompt(task_id: str, task_name: str) -> str:
    return "the prompt"


JOB = AgentJob(Task("1", "Task", "Todo"), Route("Todo", prompt), "the prompt")


async def test_without_a_script_it_succeeds_and_records_the_job() -> None:
    agent = ScriptedAgent()
    assert (await agent.run(JOB)).succeeded
    assert agent.jobs == [JOB]


async def test_each_attempt_has_a_script_and_the_last_one_serves_the_rest() -> None:
    agent = ScriptedAgent([Fail("exit code 2", 2)], [Fail("no luck", retryable=False)], [])
    results = [await agent.run(replace(JOB, attempt=n)) for n in (1, 2, 3, 4)]
    assert [(r.succeeded, r.reason, r.exit_code, r.retryable) for r in results] == [
        (False, "exit code 2", 2, True),
        (False, "no luck", 1, False),
        (True, "", 0, True),
        (True, "", 0, True),
    ]


async def test_steps_are_told_in_order_and_stop_at_the_end() -> None:
    events: list[AgentEvent] = []
    cost = AgentEvent(EventKind.COST, {"cost_usd": 0.5})
    agent = ScriptedAgent(
        [Say("one"), Emit(cost), Wait(timedelta(0)), Say("two", "stderr"), Succeed(), Say("three")]
    )
    result = await agent.run(replace(JOB, emit=events.append))
    assert [event.kind for event in events] == [
        EventKind.STARTED,
        EventKind.OUTPUT,
        EventKind.COST,
        EventKind.OUTPUT,
    ]
    assert events[3].data == {"stream": "stderr", "text": "two"}
    assert result.usage == {"cost_usd": 0.5}
    assert result.output_tail == "one\ntwo"


async def test_it_waits_for_an_event() -> None:
    gate = asyncio.Event()
    task = asyncio.create_task(ScriptedAgent([Wait(gate)]).run(JOB))
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    assert (await task).succeeded


async def test_a_function_is_a_script() -> None:
    async def work(job: AgentJob) -> AgentResult | None:
        job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": job.prompt}))
        if job.attempt == 1:
            return AgentResult(AgentOutcome.STALLED, "stalled")
        return None

    agent = ScriptedAgent(work)
    first, second = await agent.run(JOB), await agent.run(replace(JOB, attempt=2))
    assert (first.outcome, first.output_tail) == (AgentOutcome.STALLED, "the prompt")
    assert second.succeeded


async def test_a_timeout_error_of_the_script_itself_is_no_timeout() -> None:
    async def work(job: AgentJob) -> None:
        raise TimeoutError("the script's own")

    with pytest.raises(TimeoutError, match="own"):
        await ScriptedAgent(work).run(replace(JOB, timeout=timedelta(minutes=1)))
