"""An app on a board of its own making: tasks in a SQLite file."""

import shlex
from pathlib import Path

from sqlite_adapter import SqliteAdapter

from athanore import AgentDispatcher

HERE = Path(__file__).parent
board = SqliteAdapter(HERE / "board.sqlite3", user="sqlite")
dispatcher = AgentDispatcher(
    name="custom-adapter",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=5,
    queue_backend=board,
)


@dispatcher.route("Todo", done_queue="Done")
def worker(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}."


if __name__ == "__main__":
    dispatcher.run()
