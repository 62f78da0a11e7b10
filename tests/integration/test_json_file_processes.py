"""Eight processes change one JSON board and are killed at random: nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from athanore.queue_adapters.json_file.adapter import JsonFileAdapter

WORKERS = 8
OPERATIONS = 4_000
KILLS = 40
CLAIMABLE = 200
DEADLINE = 500
"""Seconds after which the processes count as stuck."""

type Entry = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def states(folder: Path) -> list[tuple[int, int]]:
    """Run the processes; what a reader saw all along: the numbers of tasks and of comments."""
    own = [{"id": f"own-{n}", "name": f"task of worker {n}"} for n in range(WORKERS)]
    pool = [{"id": f"pool-{n}", "name": f"task {n}"} for n in range(CLAIMABLE)]
    queues: dict[str, list[Entry]] = {
        "Todo": own, "In Progress": [], "Done": [], "Pool": pool, "Claimed": []
    }  # fmt: skip
    board = folder / "board.json"
    board.write_text(json.dumps({"queues": queues}))
    script = Path(__file__).with_name("json_file_worker.py")
    command = [sys.executable, str(script), str(board), str(folder), "seed 1", str(KILLS)]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + DEADLINE
    seen: list[tuple[int, int]] = []
    try:
        while process.poll() is None:
            assert time.monotonic() < deadline, "the processes are stuck"
            tasks = [t for _, t in tasks_of(board)]  # raises if the file does not parse
            seen.append((len(tasks), sum(len(t.get("comments", [])) for t in tasks)))
            wait_for(process, 0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return seen


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def tasks_of(board: Path) -> Iterator[tuple[str, Entry]]:
    queues: dict[str, list[Entry]] = json.loads(board.read_bytes())["queues"]
    for name, tasks in queues.items():
        for task in tasks:
            yield name, task


def log_of(folder: Path, number: int) -> list[Entry]:
    lines = (folder / f"w{number}.jsonl").read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def logs_of(folder: Path) -> list[Entry]:
    return [entry for n in range(WORKERS) for entry in log_of(folder, n)]


def done(entries: list[Entry], what: str) -> list[Entry]:
    return [e for e in entries if e["step"] == "done" and e["what"] == what]


@pytest.mark.nightly
def test_file_parsed_at_every_instant_and_nothing_went_back(
    states: list[tuple[int, int]], folder: Path
) -> None:
    assert len(states) > 100
    assert states == sorted(states, key=lambda s: s[0])
    assert [c for _, c in states] == sorted(c for _, c in states)
    assert sum(e["step"] == "done" for e in logs_of(folder)) == OPERATIONS


def test_every_acknowledged_comment_is_there_once(
    states: list[tuple[int, int]], folder: Path
) -> None:
    entries = logs_of(folder)
    found = [
        (task["id"], comment["text"])
        for _, task in tasks_of(folder / "board.json")
        for comment in task.get("comments", [])
    ]
    acknowledged = {(e["task"], e["text"]) for e in done(entries, "comment")}
    begun = {(e["task"], e["text"]) for e in entries if e["what"] == "comment"}
    assert len(acknowledged) > OPERATIONS / 10
    assert len(found) == len(set(found))
    assert acknowledged <= set(found) <= begun


def test_every_acknowledged_task_is_there_once(states: list[tuple[int, int]], folder: Path) -> None:
    tasks = [task for _, task in tasks_of(folder / "board.json")]
    ids = [task["id"] for task in tasks]
    acknowledged = {(e["task"], e["name"]) for e in done(logs_of(folder), "create")}
    assert len(acknowledged) > OPERATIONS / 40
    assert len(ids) == len(set(ids))
    assert acknowledged <= {(t["id"], t["name"]) for t in tasks}


def test_last_acknowledged_value_holds(states: list[tuple[int, int]], folder: Path) -> None:
    places = {task["id"]: (queue, task) for queue, task in tasks_of(folder / "board.json")}
    for number in range(WORKERS):
        queue, task = places[f"own-{number}"]
        entries = log_of(folder, number)
        assert queue in possible(entries, "move", "queue")
        assert task["description"] in possible(entries, "update", "description")


def possible(entries: list[Entry], what: str, field: str) -> set[str]:
    """The value that was acknowledged last, and those that were begun after it."""
    entries = [e for e in entries if e["what"] == what]
    last = max(i for i, e in enumerate(entries) if e["step"] == "done")
    return {e[field] for e in entries[last:]}


def test_every_claim_was_won_by_one(states: list[tuple[int, int]], folder: Path) -> None:
    assignees = {
        task["id"]: task["assignees"]
        for queue, task in tasks_of(folder / "board.json")
        if queue == "Claimed"
    }
    won = [(n, e["won"]) for n in range(WORKERS) for e in done(log_of(folder, n), "claim")]
    won = [(number, task_id) for number, task_id in won if task_id]
    assert len(won) > CLAIMABLE / 2
    assert len({task_id for _, task_id in won}) == len(won)
    assert all(assignees[task_id] == [f"w{number}"] for number, task_id in won)
    assert all(len(a) == 1 for a in assignees.values())


def test_killed_writers_leave_nothing_that_stays(
    states: list[tuple[int, int]], folder: Path
) -> None:
    JsonFileAdapter(folder / "board.json").prepare([])
    logs = {f"w{n}.jsonl" for n in range(WORKERS)}
    assert {p.name for p in folder.iterdir()} == logs | {"board.json", ".board.json.lock"}
