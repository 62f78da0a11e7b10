"""A pipeline of three stages: Todo -> Build -> Review -> Done, with an agent for each."""

import shlex
from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter, Task

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="three-stages",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=5,
    agent_timeout=60,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=JsonFileAdapter(HERE / "board.json", user="pipeline"),
)


# What is nearly finished goes first: the last stage has the highest priority.
@dispatcher.route(
    "Todo", in_progress_queue="Designing", args=["designer"], done_queue="Build", priority=3
)
def design(task_id: str, task_name: str) -> str:
    return f"Write a short design for task {task_id}: {task_name}."


@dispatcher.route(
    "Build", in_progress_queue="Building", args=["builder"], done_queue="Review", priority=2
)
def build(task_id: str, task_name: str, task: Task) -> str:
    return f"Build task {task_id}: {task_name}.\n\n{task.comments[-1].text}"


@dispatcher.route(
    "Review", in_progress_queue="Reviewing", args=["reviewer"], done_queue="Done", priority=1
)
def review(task_id: str, task_name: str) -> str:
    return f"Review task {task_id}: {task_name}."


if __name__ == "__main__":
    dispatcher.run()
