"""A board in a JSON file, and an agent that is a shell script."""

import shlex
from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="json-shell",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=5,
    agent_timeout=60,
    queue_backend=JsonFileAdapter(HERE / "board.json", user="shell"),
)


@dispatcher.route("Todo", done_queue="Done")
def worker(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}."


if __name__ == "__main__":
    dispatcher.run()
