"""Eight processes that work on one JSON board, and one that kills them at random.

Run as a program by test_json_file_processes.py: `json_file_worker.py BOARD LOGS SEED KILLS`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from athanore.errors import TaskMovedError
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter

WORKERS = 8
OPERATIONS = 500
"""How many acknowledged operations each worker makes, however often it is killed."""

QUEUES = ["Todo", "In Progress", "Done"]
POOL, CLAIMED = "Pool", "Claimed"


class Worker:
    """One life of a worker: it goes on where its log says that the last one was killed.

    It moves and updates only its own task, so that what was acknowledged last must be there.
    """

    def __init__(self, board: Path, log: Path, number: int, seed: str) -> None:
        self.name = f"w{number}"
        self.random = random.Random(seed)
        self.board = JsonFileAdapter(board, user=self.name)
        entries = read_log(log)
        self.done = sum(e["step"] == "done" for e in entries)
        self.count = len(entries)
        self.own = f"own-{number}"
        # A write to the page cache survives kill -9, so the log needs no fsync.
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(self.log, b"\n")  # after a line that a kill has cut

    def run(self) -> None:
        """Work until the quota is done."""
        operations: list[Callable[[], dict[str, Any]]] = [
            *[self.read] * 6,
            *[self.comment] * 5,
            *[self.move] * 4,
            *[self.update] * 2,
            *[self.create] * 1,
            *[self.claim] * 2,
        ]
        while self.done < OPERATIONS:
            self.count += 1
            operation = self.random.choice(operations)
            fact = operation()
            self.write({"step": "done", "what": operation.__name__, **fact})
            self.done += 1

    def write(self, entry: dict[str, Any]) -> None:
        os.write(self.log, json.dumps(entry).encode() + b"\n")

    def intend(self, what: str, **fact: Any) -> dict[str, Any]:
        self.write({"step": "begin", "what": what, **fact})
        return fact

    def read(self) -> dict[str, Any]:
        tasks = self.board.get_ready_tasks(QUEUES)
        task = self.board.get_task(self.random.choice(tasks).id)
        return {"task": task.id}

    def comment(self) -> dict[str, Any]:
        task = self.random.choice(self.board.get_ready_tasks(QUEUES))
        fact = self.intend("comment", task=task.id, text=f"{self.name} {self.count}")
        self.board.add_comment(fact["task"], fact["text"])
        return fact

    def move(self) -> dict[str, Any]:
        fact = self.intend("move", queue=self.random.choice(QUEUES))
        self.board.move_task(self.own, fact["queue"])
        return fact

    def update(self) -> dict[str, Any]:
        fact = self.intend("update", description=f"{self.count} " + "x" * (self.count % 50))
        self.board.update_task(self.own, description=fact["description"])
        return fact

    def create(self) -> dict[str, Any]:
        task = self.board.create_task("Todo", f"{self.name} {self.count}")
        return {"task": task.id, "name": task.name}

    def claim(self) -> dict[str, Any]:
        pool = self.board.get_ready_tasks([POOL])
        if not pool:
            return {"won": None}
        task_id = self.random.choice(pool[:3]).id
        try:
            self.board.claim_task(
                task_id, source_queue=POOL, target_queue=CLAIMED, assignee=self.name
            )
        except TaskMovedError:
            return {"won": None}
        return {"won": task_id}


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; a kill may have cut one."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def start(board: Path, logs: Path, number: int, life: str) -> int:
    """Fork a worker, so that only the first one pays for the imports."""
    if pid := os.fork():
        return pid
    work(Worker(board, logs / f"w{number}.jsonl", number, life))


def work(worker: Worker) -> NoReturn:
    status = 1
    try:
        worker.run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main(board: Path, logs: Path, seed: str, kills: int) -> None:
    """Keep all workers alive and kill one now and then, until all have done their quota."""
    chaos = random.Random(seed)
    running = {start(board, logs, n, f"{seed}/{n}/0"): n for n in range(WORKERS)}
    killed = 0
    while running:
        time.sleep(chaos.uniform(0.01, 0.15))
        if killed < kills:
            os.kill(chaos.choice(list(running)), signal.SIGKILL)
            killed += 1
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            number = running.pop(ended[0])
            if os.WIFSIGNALED(ended[1]):
                running[start(board, logs, number, f"{seed}/{number}/{killed}")] = number
            elif ended[1]:
                raise SystemExit(f"worker {number} failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
