"""The stream of what an agent does, with a real agent, and a reader that is cut off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from athanore import AgentDispatcher, JsonFileAdapter, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, AgentResult, EventKind
from athanore.models import AgentOutcome as Outcome
from tests.api.conftest import write_prompt
from tests.api.rig import bearer
from tests.harness import Running, app_name, running
from tests.support import clean_environment, free_port, wait_until

LINES = 400


@dataclass(frozen=True)
class Received:
    """One event as a reader gets it."""

    id: str
    kind: str
    data: dict[str, Any]


class Chatty:
    """An agent that says a lot at once, and comments through the API meanwhile."""

    async def run(self, job: AgentJob) -> AgentResult:
        headers = bearer(job.env["ATHANORE_TOKEN"])
        async with httpx.AsyncClient(base_url=job.env["ATHANORE_API_URL"], timeout=60) as http:
            for n in range(LINES):
                job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": f"line {n}"}))
                if n % 20 == 0:
                    job.emit(AgentEvent(EventKind.TOOL_USE, {"name": "look", "input": n}))
                if n % 100 == 0:
                    path, body = f"/tasks/{job.task.id}/comments", {"comment": f"at {n}"}
                    answer = await http.post(path, json=body, headers=headers)
                    answer.raise_for_status()
        return AgentResult(Outcome.SUCCEEDED)


def read(
    http: httpx.Client, task_id: str, last: str | None = None, **query: bool
) -> Iterator[Received]:
    """Read a task's stream until it ends."""
    headers = {"Last-Event-ID": last} if last else {}
    path = f"/tasks/{task_id}/events"
    with http.stream("GET", path, headers=headers, params=query) as response:
        if response.status_code == 204:
            return
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif not line:
                if "event" in fields:
                    yield Received(
                        fields.get("id", ""), fields["event"], json.loads(fields["data"])
                    )
                fields = {}


def said(events: list[Received]) -> list[str]:
    """The lines of an agent's output, in the order of their events."""
    return [line["text"] for e in events if e.kind == "output" for line in e.data["data"]["lines"]]


@pytest.fixture
def app(prefect_api: str) -> Iterator[tuple[Running, str, httpx.Client]]:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    dispatcher = AgentDispatcher(
        name=app_name("stream"), queue_backend=board, poll_interval=3600, api_port=0
    )
    dispatcher.route("Todo", agent=Chatty(), done_queue="Done")(write_prompt)
    with (
        running(dispatcher, prefect_api) as it,
        httpx.Client(base_url=it.api_url, timeout=60) as http,
    ):
        created = http.post("/tasks", json={"queue_name": "Todo", "name": "Talk"})
        yield it, created.json()["id"], http


def test_a_reader_that_is_cut_off_again_and_again_gets_everything_once(
    app: tuple[Running, str, httpx.Client],
) -> None:
    _, task_id, http = app
    events: list[Received] = []
    step = 1
    while not events or events[-1].kind != "end":
        for count, event in enumerate(
            read(http, task_id, events[-1].id if events else None), start=1
        ):
            events.append(event)
            if event.kind != "end" and count == step:
                break
        step += 2
    assert said(events) == [f"line {n}" for n in range(LINES)]
    kinds = [e.kind for e in events]
    assert kinds[0] == "claimed" and kinds[-1] == "end"
    assert kinds.count("tool-use") == LINES / 20
    comments = [e.data["data"]["text"] for e in events if e.kind == "comment"]
    assert comments == ["at 0", "at 100", "at 200", "at 300"]
    ids = [e.data["id"] for e in events[:-1]]
    assert len(ids) == len(set(ids))
    assert list(read(http, task_id, events[-2].id)) == []


SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "true", name={name!r}, queue_backend=JsonFileAdapter({board!r}), api_port={port}
)
dispatcher.route("Todo", done_queue="Done")(lambda task_id, task_name: task_name)
"""


class ApiProcess:
    """`athanore api`, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, name: str, board: Path, prefect_api: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        script = SCRIPT.format(name=name, board=str(board), port=port)
        (folder / "run.py").write_text(script)
        self._env = {**clean_environment(folder / "home"), "PREFECT_API_URL": prefect_api}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = "from athanore.cli import main; main(['api', 'run.py'])"
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", command], cwd=self._folder, env=self._env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until("the API answers", self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/queues", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Talks:
    """An agent that goes on talking until it has been heard enough."""

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.lines = 0

    async def run(self, job: AgentJob) -> AgentResult:
        while not self.enough.is_set():
            text = f"line {self.lines}"
            job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": text}))
            self.lines += 1
            await asyncio.sleep(0.01)
        return AgentResult(Outcome.SUCCEEDED)


@pytest.mark.nightly
def test_a_reader_goes_on_after_the_api_was_killed_and_started_again(
    prefect_api: str, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    todo = [{"id": "1", "name": "Talk"}]
    path.write_text(json.dumps({"queues": {"Todo": todo, "In Progress": [], "Done": []}}))
    agent = Talks()
    dispatcher = AgentDispatcher(
        name=app_name("stream"), queue_backend=JsonFileAdapter(path), poll_interval=3600, api_port=0
    )
    dispatcher.route("Todo", agent=agent, done_queue="Done")(write_prompt)
    api = ApiProcess(tmp_path, dispatcher.name, path, prefect_api)
    events: list[Received] = []
    with running(dispatcher, prefect_api), httpx.Client(base_url=api.url, timeout=60) as http:
        wait_until("the agent talks", lambda: agent.lines)
        try:
            for n in range(3):
                api.start()
                http.post("/tasks/1/comments", json={"comment": f"start {n}"}).raise_for_status()
                with suppress(httpx.TransportError):  # the stream is cut
                    for event in read(http, "1", events[-1].id if events else None):
                        events.append(event)
                        if event.kind != "comment":
                            continue
                        if n < 2:
                            api.kill()
                        else:
                            agent.enough.set()
        finally:
            api.kill()
    assert events[-1].kind == "end"
    assert said(events) == [f"line {n}" for n in range(agent.lines)]
    comments = [e.data["data"]["text"] for e in events if e.kind == "comment"]
    assert comments == ["start 0", "start 1", "start 2"]
    ids = [e.data["id"] for e in events[:-1]]
    assert len(ids) == len(set(ids))


def test_a_late_reader_gets_the_whole_run(app: tuple[Running, str, httpx.Client]) -> None:
    it, task_id, http = app
    it.prefect.ended(task_id)
    events = list(read(http, task_id))
    assert said(events) == [f"line {n}" for n in range(LINES)]
    assert events[-1].data == {"state": "Completed"}


def test_a_stream_has_nothing_of_the_run_before(app: tuple[Running, str, httpx.Client]) -> None:
    it, task_id, http = app
    first = it.prefect.ended(task_id)["id"]
    http.post(f"/tasks/{task_id}/move", json={"target_queue": "Todo"}).raise_for_status()
    wait_until("there is a second run", lambda: len(it.prefect.runs(task_id)) == 2)
    newest = it.prefect.ended(task_id)["id"]
    assert newest != first
    events = list(read(http, task_id))
    assert said(events) == [f"line {n}" for n in range(LINES)]
    assert {e.data["run_id"] for e in events[:-1]} - {None} == {newest}
    assert [e.kind for e in events[-2:]] == ["finished", "end"]
    whole = list(read(http, task_id, whole=True))
    told = [run_id for e in whole[:-1] if (run_id := e.data["run_id"]) is not None]
    assert told == sorted(told, key=[first, newest].index), "one run after the other"
    assert [e.kind for e in whole].count("finished") == 2
