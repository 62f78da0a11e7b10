"""Issues of a Jira project: an agent works on those in Todo, people look at its work.

Without a Jira: `python offline.py` runs the same on one of its own.
"""

import os
import shlex
from pathlib import Path

from athanore import AgentDispatcher, JiraBoard

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="jira-issues",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=15,
    agent_timeout=1800,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=JiraBoard(
        os.environ.get("JIRA_URL", "https://example.atlassian.net"),
        os.environ.get("JIRA_PROJECT", "ENG"),
    ),
)


@dispatcher.route("Todo", in_progress_queue="In Progress", done_queue="Review")
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on issue {task_id}: {task_name}. Read it first, and comment what you did."


if __name__ == "__main__":
    dispatcher.run()
