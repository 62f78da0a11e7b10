"""The demo's app, as you would write your own: Todo -> Review -> Done, three agents at once."""

import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter

AGENT = Path(__file__).with_name("agent.py")

dispatcher = AgentDispatcher(
    name="demo",
    command=shlex.join([sys.executable, str(AGENT)]),
    poll_interval=5,
    agent_timeout=60,
    max_concurrent_agents=3,
    max_retries=1,
    queue_backend=JsonFileAdapter("board.json", user="demo"),
)


@dispatcher.route("Todo", args=["--agent", "engineer", "-p"], retry_delay=1)
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}. Move it to Review when it is done."


@dispatcher.route(
    "Review", in_progress_queue="In Review", args=["--agent", "reviewer", "-p"], priority=1
)
def reviewer(task_id: str, task_name: str) -> str:
    return f"Review task {task_id}: {task_name}. Move it to Done if it is good."


if __name__ == "__main__":
    dispatcher.run()
