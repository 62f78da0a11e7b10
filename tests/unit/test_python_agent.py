"""PythonAgent: functions in the worker, and in a process of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.python import PythonAgent
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, FaultKind, Task
from athanore.routing.routes import Route
from tests.agents import functions
from tests.harness import prompt


class Attempt:
    def __init__(self, cwd: Path | None = None, timeout: float | None = None) -> None:
        self.events: list[AgentEvent] = []
        self.job = AgentJob(
            Task("1", "Fix it", "Todo"),
            Route("Todo", prompt),
            "the prompt",
            env={"ATHANORE_CONTRACT": "an environment of its own"},
            cwd=cwd,
            timeout=None if timeout is None else timedelta(seconds=timeout),
            emit=self.events.append,
        )

    def lines(self) -> list[str]:
        return [str(e.data["text"]) for e in self.events if e.kind is EventKind.OUTPUT]


async def test_a_function_has_a_process_a_folder_and_an_environment_of_its_own(
    tmp_path: Path,
) -> None:
    attempt = Attempt(tmp_path)
    result = await PythonAgent(functions.succeeds).run(attempt.job)
    assert (result.outcome, result.exit_code) == (AgentOutcome.SUCCEEDED, 0)
    assert attempt.lines() == [
        "no newline; ",
        f"Fix it in {tmp_path} with an environment of its own",
        "hello from the agent",
    ]
    assert result.output_tail.endswith("hello from the agent")
    (used,) = [e.data for e in attempt.events if e.kind is EventKind.TOOL_USE]
    assert used == {"name": "think", "input": {"hard": True}}


@pytest.mark.parametrize(
    ("function", "reason", "last"),
    [
        (functions.fails, "ValueError: it went wrong", "ValueError: it went wrong"),
        (functions.ends_the_process, "exit code 3", ""),
        (
            functions.returns_a_number,
            "TypeError: the agent's function returned 7; it has to return None, text, or an "
            "AgentResult",
            "AgentResult",
        ),
    ],
)
async def test_a_function_that_fails(
    function: Callable[[AgentJob], Any], reason: str, last: str
) -> None:
    result = await PythonAgent(function).run(Attempt().job)
    assert (result.outcome, result.reason) == (AgentOutcome.FAILED, reason)
    assert result.output_tail.endswith(last)


async def test_a_result_comes_out_as_it_was_returned() -> None:
    result = await PythonAgent(functions.is_over_its_limit).run(Attempt().job)
    assert result.has_fault(FaultKind.PROVIDER) and result.usage == {"cost_usd": 0.5}
    assert result.fault is not None
    assert result.fault.retry_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_function_of_a_script_is_found_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import asyncio\n"
        "from athanore import AgentJob, MemoryAdapter, Task\n"
        "from athanore.agent_adapters.python import PythonAgent\n"
        "from athanore.routing.routes import Route\n"
        "def work(job):\n"
        "    print('worked on', job.task.id)\n"
        "if __name__ == '__main__':\n"
        "    route = Route('Todo', lambda task_id, task_name: '')\n"
        "    job = AgentJob(Task('7', 'x', 'Todo'), route, '')\n"
        "    print(asyncio.run(PythonAgent(work).run(job)).output_tail)\n",
        encoding="utf-8",
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "worked on 7\n"


async def test_a_folder_that_is_gone_is_no_fault_of_the_task(tmp_path: Path) -> None:
    result = await PythonAgent(functions.succeeds).run(Attempt(tmp_path / "gone").job)
    assert result.has_fault(FaultKind.ENVIRONMENT)


def test_a_function_that_no_other_process_could_find_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="make it async, or pass in_worker=True"):
        PythonAgent(lambda job: None)
    PythonAgent(lambda job: None, in_worker=True)


async def test_an_async_function_runs_in_the_worker() -> None:
    async def work(job: AgentJob) -> AgentResult:
        job.say("one\ntwo")
        job.emit(AgentEvent(EventKind.COST, {"cost_usd": 0.5}))
        return AgentResult(AgentOutcome.SUCCEEDED, usage={"cost_usd": 0.5})

    attempt = Attempt()
    result = await PythonAgent(work).run(attempt.job)
    assert result.succeeded and result.output_tail == "one\ntwo"
    assert (attempt.lines(), result.usage) == (["one", "two"], {"cost_usd": 0.5})


@pytest.mark.parametrize("own", [True, False])
async def test_a_timeout_of_the_functions_own_is_a_failure(own: bool) -> None:
    async def work(job: AgentJob) -> None:
        if own:
            raise TimeoutError("the page did not answer")
        await asyncio.Event().wait()

    result = await PythonAgent(work).run(Attempt(timeout=60 if own else 0.1).job)
    assert result.reason == ("TimeoutError: the page did not answer" if own else "timed out")
    assert (result.outcome is AgentOutcome.TIMED_OUT) is not own


async def test_a_thread_of_the_worker_is_given_up_when_its_time_is_up() -> None:
    over, told = threading.Event(), threading.Event()

    def work(job: AgentJob) -> str:
        job.say("ready")
        over.wait(60)
        job.say("too late")
        told.set()
        return "much too late"

    attempt = Attempt(timeout=0.5)
    result = await PythonAgent(work, in_worker=True).run(attempt.job)
    assert result.outcome is AgentOutcome.TIMED_OUT
    over.set()
    await asyncio.to_thread(told.wait, 60)
    await asyncio.sleep(0)
    assert "too late" not in attempt.lines()


async def test_a_thread_of_the_worker_succeeds_and_fails() -> None:
    attempt = Attempt()
    agent = PythonAgent(lambda job: f"done in {threading.current_thread().name}", in_worker=True)
    assert (await agent.run(attempt.job)).output_tail == "done in PythonAgent 1"
    result = await PythonAgent(functions.fails, in_worker=True).run(Attempt().job)
    assert result.reason == "ValueError: it went wrong"
