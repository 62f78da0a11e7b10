"""Agents that behave badly, through the whole of Athanore: right outcome, nothing left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from athanore import AgentDispatcher, JsonFileAdapter, MemoryAdapter
from athanore.processes.family import MARK
from tests.harness import Prefect, app_name, prompt, running

NASTY = Path(__file__).parent.parent / "agents" / "nasty.py"
MEGABYTES = 100
BEHAVIOURS: dict[str, tuple[tuple[str, ...], str]] = {
    "writes without end": (("writes", str(MEGABYTES), "100"), "Done"),
    "one endless line": (("one_line", "20"), "Done"),
    "no text": (("invalid_utf8",), "Done"),
    "leaves children": (("forks", "3"), "Done"),
    "leaves a deaf child": (("forks_group",), "Done"),
    "leaves a daemon": (("daemonises",), "Done"),
    "deaf": (("ignores_term",), "Failed"),
    "closes its pipes": (("closes_pipes",), "Failed"),
    "dies": (("dies_of", "SIGSEGV"), "Failed"),
}
FEW = ("writes without end", "leaves a daemon", "deaf")
"""For the gate; `tests/unit/test_subprocess_agent.py` has the others without Prefect."""
AT_ONCE = 20


def _agents_of(site: str) -> list[int]:
    """The processes that agents of a test have left."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
        except psutil.Error:
            continue
        if env.get("NASTY_SITE") == site and MARK in env:
            found.append(process.pid)
    return found


def _logged(prefect: Prefect, run_id: str) -> int:
    """How many characters of a run's log Prefect keeps."""
    size = offset = 0
    while True:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200, "offset": offset}
        page = prefect.post("/logs/filter", body)
        size += sum(len(line["message"]) for line in page)
        offset += len(page)
        if len(page) < 200:
            return size


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("behaviours", "at_once"),
    [
        pytest.param(FEW, 5, id="few"),
        pytest.param(tuple(BEHAVIOURS), AT_ONCE, id="all"),
    ],
)
@pytest.mark.nightly
def test_whatever_an_agent_does(
    prefect_api: str, tmp_path: Path, behaviours: tuple[str, ...], at_once: int
) -> None:
    name = app_name("nasty")
    queues = [*behaviours, "exits at once", "In Progress", "Done", "Failed"]
    board = MemoryAdapter(queues)
    (tmp_path / "end").touch()
    dispatcher = AgentDispatcher(
        sys.executable, name=name, queue_backend=board, api_port=0, poll_interval=5,
        max_concurrent_agents=4, agent_timeout=90, dead_letter_queue="Failed",
    )  # fmt: skip
    env = {"NASTY_SITE": name, "MAY_END": str(tmp_path / "end")}
    for queue in behaviours:
        words, _ = BEHAVIOURS[queue]
        timeout = 2 if queue == "deaf" else 90
        dispatcher.route(
            queue, args=("-I", "-S", str(NASTY), *words), done_queue="Done", env=env,
            timeout=timeout,
        )(prompt)  # fmt: skip
    dispatcher.route(
        "exits at once", args=("-I", "-S", str(NASTY), "exits", "0"), done_queue="Done", env=env
    )(prompt)
    tasks = {queue: board.create_task(queue, queue).id for queue in behaviours}
    quick = [board.create_task("exits at once", f"quick {n}").id for n in range(at_once)]
    memory = psutil.Process().memory_info().rss
    with running(dispatcher, prefect_api) as it:
        for queue in behaviours:
            it.in_queue(tasks[queue], BEHAVIOURS[queue][1], 150)
        for task_id in quick:
            it.in_queue(task_id, "Done", 150)
        for task_id in quick:
            it.prefect.ended(task_id)
            assert [r["state_name"] for r in it.prefect.runs(task_id)] == ["Completed"]
        talkative = it.prefect.ended(tasks["writes without end"])
        assert _logged(it.prefect, talkative["id"]) < 2_000_000, "of 100 MB"
    assert _agents_of(name) == []
    grown = psutil.Process().memory_info().rss - memory
    assert grown < 300_000_000, "what an agent writes is not gathered"


def test_broken_tasks_and_a_huge_one_do_not_hold_up_the_others(
    prefect_api: str, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    broken: list[object] = [{"name": "no id"}, {"id": "x"}, 17, None]
    huge = {"id": "1", "name": "Huge", "description": "x" * 50_000_000}
    todo = [*broken * 50, huge, {"id": "2", "name": "Usual"}]
    path.write_text(json.dumps({"queues": {"Todo": todo, "In Progress": [], "Done": []}}))
    dispatcher = AgentDispatcher(
        "true", name=app_name("huge"), queue_backend=JsonFileAdapter(path), api_port=0
    )
    dispatcher.route("Todo", done_queue="Done")(prompt)
    with running(dispatcher, prefect_api) as it:
        for task_id in ("1", "2"):
            it.in_queue(task_id, "Done", 150)
    queues = json.loads(path.read_text())["queues"]
    assert queues["Todo"] == broken * 50
    (done,) = [task for task in queues["Done"] if task["id"] == "1"]
    assert len(done["description"]) == 50_000_000
