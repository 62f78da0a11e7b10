"""Cards of a Planka board, worked on by Claude Code."""

import os

from athanore import AgentDispatcher
from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter
from athanore.queue_adapters.planka.backend import PlankaBackend

BOARD = os.environ.get("PLANKA_BOARD", "Website.Work")

dispatcher = AgentDispatcher(
    name="planka-claude",
    poll_interval=30,
    agent_timeout=1800,
    max_retries=1,
    dead_letter_queue=f"{BOARD}.Failed",
    queue_backend=PlankaBackend(url=os.environ.get("PLANKA_URL", "http://localhost:3000")),
    default_agent=ClaudeAgentAdapter(permission_mode="acceptEdits"),
)


@dispatcher.route(
    f"{BOARD}.Todo", in_progress_queue=f"{BOARD}.In Progress", done_queue=f"{BOARD}.Done"
)
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}. Read it first, and comment what you did."


if __name__ == "__main__":
    dispatcher.run()
