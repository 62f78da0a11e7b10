"""A board in a SQLite file, or in the PostgreSQL that BOARD_URL names."""

import os
import shlex
from pathlib import Path

from athanore import AgentDispatcher
from athanore.queue_adapters.sql import SqlBoard

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="sql",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=5,
    agent_timeout=60,
    queue_backend=SqlBoard(os.environ.get("BOARD_URL") or HERE / "board.db", user="shell"),
)


@dispatcher.route("Todo", done_queue="Done")
def worker(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}."


if __name__ == "__main__":
    dispatcher.run()
