"""A reviewer hands in a verdict, and a function decides by it where the task goes.

Todo -> Review -> Done, or back to Todo with the reasons on the card.
"""

import shlex
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from athanore import AgentDispatcher, JsonFileAdapter, Task

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="review-verdict",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=5,
    agent_timeout=60,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=JsonFileAdapter(HERE / "board.json", user="pipeline"),
)


class Verdict(BaseModel):
    """What the reviewer hands in; one of another shape is refused while the agent still works."""

    verdict: Literal["approve", "reject"]
    reasons: list[str] = []


@dispatcher.route("Todo", args=["builder"], done_queue="Review")
def build(task_id: str, task_name: str, task: Task) -> str:
    said = "\n".join(comment.text for comment in task.comments)
    return f"Build task {task_id}: {task_name}.\n\n{said}"


@dispatcher.route("Review", in_progress_queue="Reviewing", args=["reviewer"], output=Verdict)
def review(task_id: str, task_name: str) -> str:
    return f"Review task {task_id}: {task_name}."


@dispatcher.then("Review")
def decide(task: Task, result: Verdict) -> str:
    return "Done" if result.verdict == "approve" else "Todo"


if __name__ == "__main__":
    dispatcher.run()
