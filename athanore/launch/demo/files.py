"""What the demo puts into its folder: an app as you would write your own, and its board."""

from __future__ import annotations

from typing import Any

QUEUES = ("Todo", "In Progress", "Review", "In Review", "Done")

BOARD: dict[str, Any] = {
    "queues": {
        "Todo": [
            {"id": "1", "name": "Add a login page"},
            {"id": "2", "name": "Fix the flaky test", "labels": ["flaky"]},
            {"id": "3", "name": "Write the changelog"},
        ],
        **{name: [] for name in QUEUES[1:]},
    }
}

SCRIPT = '''\
"""The demo's app: Todo -> Review -> Done, three agents at once."""

import shlex
import sys

from athanore import AgentDispatcher, GitWorkspace, JsonFileAdapter

# A program that only pretends to work. Put your agent here: command="my-agent".
MOCK = shlex.join([sys.executable, "-m", "athanore.agent_adapters.mock_agent"])

dispatcher = AgentDispatcher(
    name="demo",
    command=MOCK,
    poll_interval=5,
    agent_timeout=60,
    max_concurrent_agents=3,
    max_retries=1,
    queue_backend=JsonFileAdapter("board.json", user="demo"),
)


# Each task has a clone of its own, and what is committed there is published.
@dispatcher.route(
    "Todo",
    args=["--role", "engineer", "--next", "Review", "-p"],
    retry_delay=1,
    workspace=GitWorkspace("toy.git", root="spaces"),
    publish="branch",
)
def engineer(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}. Move it to Review when it is done."


@dispatcher.route(
    "Review",
    in_progress_queue="In Review",
    args=["--role", "reviewer", "--next", "Done", "-p"],
    priority=1,
)
def reviewer(task_id: str, task_name: str) -> str:
    return f"Review task {task_id}: {task_name}. Move it to Done if it is good."


if __name__ == "__main__":
    dispatcher.run()
'''

_WITH_GIT = (
    ("AgentDispatcher, GitWorkspace, JsonFileAdapter", "AgentDispatcher, JsonFileAdapter"),
    (
        "# Each task has a clone of its own, and what is committed there is published.\n",
        "",
    ),
    ('    workspace=GitWorkspace("toy.git", root="spaces"),\n    publish="branch",\n', ""),
)


def script(*, with_git: bool) -> str:
    """The app; where there is no git, its agents have no repository."""
    text = SCRIPT
    for there, instead in () if with_git else _WITH_GIT:
        text = text.replace(there, instead)
    return text
