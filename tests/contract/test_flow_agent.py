"""The contract of agents, for runs of a deployment in a real Prefect whose worker is the test."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Failed, Running

from athanore import AgentDispatcher, FlowAgent, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.given.deployments import DeployedRun
from athanore.errors import ConfigurationError
from athanore.flows.attempts.deployed import AttemptDeployments
from athanore.models import AgentOutcome, FaultKind, Task
from athanore.routing.routes import Route
from athanore.runs.connection.clock import Clock
from athanore.runs.prefect_store import PrefectRunStore
from athanore.testing.agent_contract import AgentAdapterContract, Behaviour, Case, CaseMaker
from tests.harness import app_name, prompt, running
from tests.support import clean_environment, wait_until

LINES = {"succeeds": "hello from the agent", "fails": "it went wrong"}


class Impatient(FlowAgent):
    look_every: ClassVar[timedelta] = timedelta(seconds=0.1)
    stop_grace: ClassVar[timedelta] = timedelta(seconds=2)


class Patient(Impatient):
    """Sees the end of its run also where Prefect is slow."""

    stop_grace: ClassVar[timedelta] = timedelta(seconds=120)


class Played:
    """Prefect's worker for one deployment: it plays runs as their parameter says."""

    def __init__(self, api: str) -> None:
        self._stop = threading.Event()
        self.api, self.name = api, f"played-{uuid4().hex[:8]}"
        self.parameters: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._ready = threading.Event()

    def __enter__(self) -> Played:
        self._thread.start()
        assert self._ready.wait(240)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _work(self) -> None:
        @flow(name=self.name)
        def played() -> None: ...

        with temporary_settings({PREFECT_API_URL: self.api}):
            async with get_client() as prefect:
                client = PrefectRunStore.of(prefect)
                flow_id = await client.create_flow(played)
                deployment = await client.create_deployment(
                    flow_id, "one", parameters={"fixed": 1}, enforce_parameter_schema=False
                )
                self._ready.set()
                while not self._stop.is_set():
                    body = {"deployments": {"id": {"any_": [str(deployment)]}}}
                    answer = await client.request("POST", "/flow_runs/filter", json=body)
                    for one in answer.json():
                        if one["state_type"] in ("SCHEDULED", "CANCELLING"):
                            await self._step(client, await client.read_run(UUID(one["id"])))
                    await asyncio.sleep(0.05)
                await client.delete_deployment(deployment)

    async def _step(self, client: PrefectRunStore, run: FlowRun) -> None:
        act = str(run.parameters["act"])
        if run.state_type is StateType.CANCELLING:
            if act != "ignores TERM":
                await client.propose(run.id, Cancelled())
            return
        if not (await client.propose(run.id, Running())).accepted:
            return
        self.parameters.append(run.parameters)
        line = {
            "name": "played", "level": 20, "message": LINES.get(act, "ready"),
            "timestamp": datetime.now(UTC).isoformat(), "flow_run_id": str(run.id),
        }  # fmt: skip
        await client.create_logs([line])
        if act in LINES:
            ended = Completed() if act == "succeeds" else Failed(message="it went wrong")
            await client.propose(run.id, ended)


@pytest.fixture(scope="module")
def played(prefect_api: str) -> Generator[Played]:
    with Played(prefect_api) as played:
        yield played


class OwnClient:
    """The port, with a client for each call: the contract runs in several event loops."""

    def __init__(self, api: str, run: FlowRun, start: int = 1) -> None:
        self._api, self._run, self._start = api, run, start

    async def _ask(self, method: str, *given: Any) -> Any:
        with temporary_settings({PREFECT_API_URL: self._api}):
            async with get_client() as prefect:
                client = PrefectRunStore.of(prefect)
                inner = AttemptDeployments(client, Clock(), self._run, self._start)
                return await getattr(inner, method)(*given)

    async def start(self, deployment: str, parameters: Any) -> DeployedRun:
        return await self._ask("start", deployment, parameters)

    async def look(self, run_id: str) -> DeployedRun:
        return await self._ask("look", run_id)

    async def lines(self, run_id: str, seen: int) -> list[str]:
        return await self._ask("lines", run_id, seen)

    async def cancel(self, run_id: str) -> None:
        await self._ask("cancel", run_id)


def task_run() -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="Fix it")


def job_of(played: Played, run: FlowRun | None = None, start: int = 1) -> AgentJob:
    deployments = OwnClient(played.api, run or task_run(), start)
    task, route = Task("1", "Task", "Todo"), Route("Todo", prompt)
    return AgentJob(task, route, "the prompt", deployments=deployments)


@pytest.mark.nightly
class TestFlowAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self, played: Played) -> CaseMaker:
        def make(behaviour: Behaviour) -> Case:
            return Case(Impatient(f"{played.name}/one", {"act": behaviour}), job_of(played))

        return make


async def test_a_deployment_is_an_agent(played: Played) -> None:
    agent = Impatient(f"{played.name}/one", lambda job: {"act": "fails", "said": job.prompt})
    result = await agent.run(job_of(played))
    assert (result.outcome, result.reason) == (
        AgentOutcome.FAILED, "its run is Failed: it went wrong",
    )  # fmt: skip
    assert result.output_tail == "it went wrong"
    assert played.parameters[-1] == {"act": "fails", "said": "the prompt", "fixed": 1}


async def test_a_start_finds_its_run_again_and_ends_that_of_an_earlier_one(played: Played) -> None:
    run = task_run()
    first, second = (OwnClient(played.api, run, start) for start in (1, 2))
    name, hangs = f"{played.name}/one", {"act": "hangs"}
    begun = await first.start(name, hangs)
    assert (await first.start(name, hangs)).id == begun.id
    other = await second.start(name, hangs)
    assert other.id != begun.id
    for _ in range(1200):
        if (await first.look(begun.id)).outcome is not None:
            break
        await asyncio.sleep(0.1)
    assert (await first.look(begun.id)).state == "Cancelled"
    assert (await second.look(other.id)).outcome is None
    await second.cancel(other.id)


async def test_what_cannot_work_says_so(played: Played) -> None:
    result = await FlowAgent("no/such").run(job_of(played))
    assert result.reason == "Prefect has no deployment 'no/such'"
    assert result.has_fault(FaultKind.ENVIRONMENT)
    with pytest.raises(ConfigurationError, match="name a deployment of Prefect as"):
        FlowAgent("only-a-flow")


def test_it_works_in_an_app_and_ends_with_its_attempt(played: Played) -> None:
    board = MemoryAdapter(["Todo", "Slow", "In Progress", "Done"])
    app = AgentDispatcher(name=app_name("flows"), queue_backend=board, api_port=0, poll_interval=1)
    for queue, act in (("Todo", "succeeds"), ("Slow", "hangs")):
        agent = Patient(f"{played.name}/one", {"act": act, "of": app.name})
        app.route(queue, done_queue="Done", agent=agent)(prompt)
    quick, slow = (board.create_task(queue, "One").id for queue in ("Todo", "Slow"))
    with running(app, played.api) as it:

        def others() -> list[dict[str, Any]]:
            played_ones = {"flows": {"name": {"any_": [played.name]}}}
            found = it.prefect.post("/flow_runs/filter", played_ones)
            return [r for r in found if r["parameters"].get("of") == app.name]

        def began() -> bool:
            return any(r["parameters"]["act"] == "hangs" for r in others())

        it.in_queue(quick, "Done")
        wait_until("the other one works", began)
        work = it.prefect.working(slow)
        it.prefect.cancel(work["id"])
        it.prefect.ended(slow)
        states = {r["parameters"]["act"]: r["state_type"] for r in others()}
        assert states == {"succeeds": "COMPLETED", "hangs": "CANCELLED"}
        (key,) = [r["idempotency_key"] for r in others() if r["parameters"]["act"] == "hangs"]
        assert key == f"athanore-agent/{work['id']}/1"


SERVED = """\
import os, pathlib, time
from prefect import flow

@flow(log_prints=True)
def {name}(seconds: int, said: str):
    print(said)
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(seconds)

if __name__ == "__main__":
    {name}.serve(name="one", pause_on_shutdown=False)
"""


@pytest.mark.nightly
def test_a_process_of_prefect_works_for_it_and_ends_with_a_cancelled_task(
    prefect_api: str, tmp_path: Path
) -> None:
    """The deployment is served as Prefect's own documentation says: by `flow.serve()`."""
    name = f"served_{uuid4().hex[:8]}"
    (tmp_path / "served.py").write_text(SERVED.format(name=name))
    env = clean_environment(tmp_path / "home")
    env |= {"PREFECT_API_URL": prefect_api, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    app = AgentDispatcher(name=app_name("served"), queue_backend=board, api_port=0, poll_interval=1)
    flow_name = name.replace("_", "-")
    agent = FlowAgent(f"{flow_name}/one", lambda job: {"seconds": 600, "said": job.prompt})
    app.route("Todo", done_queue="Done", agent=agent)(prompt)
    pid = tmp_path / "pid"
    command = [sys.executable, "served.py"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log) as server,
    ):
        try:
            with running(app, prefect_api) as it:
                filters = {"flows": {"name": {"any_": [flow_name]}}}
                wait_until("it is served", lambda: it.prefect.post("/deployments/filter", filters))
                task = board.create_task("Todo", "Fix it").id
                wait_until("its flow works", lambda: pid.is_file() and pid.read_text())
                works = psutil.Process(int(pid.read_text()))
                it.prefect.cancel(it.prefect.working(task)["id"])
                assert it.prefect.ended(task)["state_type"] == "CANCELLED"
                wait_until("its process has ended", lambda: not works.is_running())
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
    assert board.get_task(task).queue_name == "In Progress"
