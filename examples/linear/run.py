"""Issues of a team in Linear: an agent works on those in Todo, people look at its work."""

import os
import shlex
from pathlib import Path

from athanore import AgentDispatcher, LinearBoard

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="linear-issues",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=30,
    agent_timeout=1800,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=LinearBoard(
        os.environ.get("LINEAR_TEAM", "ENG"),
        url=os.environ.get("LINEAR_URL", "https://api.linear.app/graphql"),
    ),
)


@dispatcher.route("Todo", in_progress_queue="In Progress", done_queue="In Review")
def engineer(task_id: str, task_name: str) -> str:
    # The name begins with what people call the issue: "ENG-12 Fix crash".
    return f"Work on issue {task_name}. Read it first, and comment what you did."


if __name__ == "__main__":
    dispatcher.run()
