"""Issues of a GitHub repository become pull requests: each has a clone and a branch of its own.

Without a repository of yours: `python offline.py` runs the same on one of its own.
"""

import os
import shlex
from pathlib import Path

from athanore import AgentDispatcher, GitHubBoard, GitHubForge, GitWorkspace

HERE = Path(__file__).parent
REPOSITORY = os.environ.get("GITHUB_BOARD", "octo-org/website")
GITHUB = os.environ.get("GITHUB_URL", "https://github.com")
REMOTE = os.environ.get("REMOTE")  # where the offline repository is

dispatcher = AgentDispatcher(
    name="issue-to-pull-request",
    command=shlex.join(["sh", str(HERE / "agent.sh")]),
    poll_interval=15,
    agent_timeout=1800,
    max_concurrent_agents=2,
    max_retries=1,
    dead_letter_queue="Failed",
    queue_backend=GitHubBoard(REPOSITORY, url=GITHUB),
    workspace=GitWorkspace(
        REMOTE or f"{GITHUB}/{REPOSITORY}.git",
        root=HERE / "spaces",
        forge=GitHubForge(REPOSITORY, url=GITHUB, remote=REMOTE),
    ),
)


@dispatcher.route(
    "Todo",
    done_queue="Review",
    expects="commits",
    check="test -s greeting.txt",
    publish="pull-request",
)
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on issue {task_id}: {task_name}. Commit what you do."


if __name__ == "__main__":
    dispatcher.run()
