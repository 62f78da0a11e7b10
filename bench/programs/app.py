"""The app under test: its routes, board and limits come from the environment.

BENCH_APP holds a JSON object: `name`, `slots`, `board` (a file), `done` (a queue) and `routes`, a
list of objects with `queue`, `command`, `prompt` and `interval` (seconds); instead of the file, the
board may be `tracker` (its kind, and what its board is given) or `sql` (an address). BENCH_LOG
names a file for the requests that are sent to Prefect and for the pauses of its client;
BENCH_POLLED one that the first poll writes the time to.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import override

from athanore import (
    AgentDispatcher,
    GitHubBoard,
    GitLabBoard,
    JiraBoard,
    JsonFileAdapter,
    LinearBoard,
    Task,
)
from athanore.queue_adapters.base import QueueAdapter, QueueBackend
from athanore.queue_adapters.planka import PlankaBackend
from athanore.queue_adapters.sql import SqlBoard

OPTIONS = json.loads(os.environ["BENCH_APP"])
TRACKERS: dict[str, Callable[..., QueueBackend]] = {
    "github": GitHubBoard,
    "gitlab": GitLabBoard,
    "jira": JiraBoard,
    "linear": LinearBoard,
    "planka": PlankaBackend,
}


class Board(JsonFileAdapter):
    """A JSON board that notes when it was first polled: a poll asks for one queue alone."""

    @override
    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the ready tasks, and note the time of the first poll."""
        if len(queue_names) == 1 and (polled := os.environ.pop("BENCH_POLLED", "")):
            Path(polled).write_text(str(time.time()))
        return super().get_ready_tasks(queue_names)


def watch_requests(path: str) -> None:
    """Log what the Prefect client sends, and how long it waits before it sends something again."""
    handler = logging.FileHandler(path)
    for name, level in (
        ("httpx", logging.INFO),
        ("prefect.client", logging.DEBUG),
        ("athanore.worker", logging.DEBUG),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)


def chosen_board() -> QueueAdapter | QueueBackend:
    """The board that is to be measured."""
    if (tracker := OPTIONS["tracker"]) is not None:
        return TRACKERS[tracker.pop("kind")](**tracker)
    return SqlBoard(OPTIONS["sql"]) if OPTIONS["sql"] else Board(OPTIONS["board"])


dispatcher = AgentDispatcher(
    name=OPTIONS["name"],
    max_concurrent_agents=OPTIONS["slots"],
    queue_backend=chosen_board(),
    shutdown_grace=0,
)


def prompt(text: str) -> Callable[[str, str], str]:
    """A prompt function that always says the same."""

    def write(task_id: str, task_name: str) -> str:
        return text or task_id

    return write


for _route in OPTIONS["routes"]:
    dispatcher.route(
        _route["queue"],
        command=_route["command"],
        poll_interval=_route["interval"],
        done_queue=OPTIONS["done"],
    )(prompt(_route["prompt"]))

if log := os.environ.get("BENCH_LOG"):
    watch_requests(log)
