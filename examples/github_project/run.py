"""Issues of a project on GitHub: an agent works on those in Todo, people look at its work.

Without an account: `python offline.py` runs the same on a GitHub of its own.
"""

import os
import shlex
from pathlib import Path

from athanore import AgentDispatcher, GitHubProjectBoard

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    name="github-project",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=15,
    agent_timeout=1800,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=GitHubProjectBoard(
        os.environ.get("GITHUB_PROJECT_OWNER", "octo-org"),
        int(os.environ.get("GITHUB_PROJECT_NUMBER", "1")),
        url=os.environ.get("GITHUB_SERVER_URL", "https://github.com"),
        repository=os.environ.get("GITHUB_REPOSITORY") or None,  # where `athanore add` opens issues
        closes=["Done"],  # nothing here moves a card there but you
    ),
)


@dispatcher.route(
    "Todo", in_progress_queue="In Progress", done_queue="Review", respect_blockers=True
)
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on issue {task_id}: {task_name}. Read it first, and comment what you did."


if __name__ == "__main__":
    dispatcher.run()
