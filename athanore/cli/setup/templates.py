"""What `athanore init` writes, by the kind of the board."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from athanore.cli.setup.env_examples import (
    APP_ENV,
    GITHUB_ENV,
    GITLAB_ENV,
    JIRA_ENV,
    LINEAR_ENV,
    PLANKA_ENV,
    PROJECT_ENV,
)

type BoardKind = Literal[
    "json", "github", "github-project", "gitlab", "jira", "linear", "planka", "sql"
]

_SCRIPT = '''\
"""An Athanore app: every {which} gets an agent.

{usage}
"""

{imports}

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    # Everything in Prefect goes by this name: two apps need two. Best never changed again.
    name=NAME,
    # The program that works on {a_task}: any command. The prompt is its last argument.
    # For Claude Code: command="claude", and args=["-p"] in the route below.
    command=shlex.join([sys.executable, str(HERE / "agent.py")]),
{board}
    agent_timeout=600,  # seconds that an agent may take
    max_concurrent_agents=2,
    max_retries=1,  # attempts after the first one that failed
    dead_letter_queue="Failed",  # where {a_task} goes when no attempt is left
)


# One route a queue. The function writes the prompt; it may also ask for `task` and `attempt`.
{queues}@dispatcher.route("{first}", in_progress_queue="In Progress", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return f"Work on {task} {{task_id}}: {{task_name}}."


if __name__ == "__main__":
    dispatcher.run()
'''

_JSON_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="task",
    a_task="a task",
    which="task in the queue Todo of board.json",
    usage="""\
    python run.py      starts everything; Ctrl-C stops it
    athanore status    how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter""",
    board="""\
    # The board. Planka and boards of your own work the same way.
    queue_backend=JsonFileAdapter(HERE / "board.json"),
    poll_interval=10,  # seconds between two looks at a queue""",
    queues="",
)

_SQL_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="task",
    a_task="a task",
    which="task in the queue Todo of a database",
    usage="""\
    python run.py                        starts everything; Ctrl-C stops it
    athanore create Todo "Say hello"     makes a task, from a second terminal
    athanore status                      how it is going""",
    imports="""\
import os
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher
from athanore.queue_adapters.sql import SqlBoard""",
    board="""\
    # The board: the PostgreSQL that BOARD_URL names (postgresql+psycopg://user:password@host/name;
    # it needs Athanore's extra "postgres"), or a SQLite file. It is made at the first start.
    # `athanore board import FILE` fills it from a JSON board.
    queue_backend=SqlBoard(os.environ.get("BOARD_URL") or HERE / "board.db"),
    poll_interval=10,  # seconds between two looks at a queue""",
    queues="",
)

_GITHUB_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="issue",
    a_task="an issue",
    which="open issue with the label agent:Todo",
    usage="""\
    cp .env.example .env    and write the token into it, once
    athanore doctor         what is missing: the token's permission, labels
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, GitHubBoard""",
    board="""\
    # The repository. An issue with the label "agent:Todo" is in the queue "Todo", and so on.
    # Other options: prefix="bot:", queues={"Todo": "ready", ...}, closes=["Done"],
    # url="https://github.example.com". The token comes from .env or the environment.
    queue_backend=GitHubBoard("OWNER/NAME"),
    poll_interval=15,  # seconds between two looks; while nothing has changed they are free""",
    queues=(
        "# Its queues are the labels agent:Todo, agent:In Progress, agent:Done, and agent:Failed "
        "of above.\n"
    ),
)

_PROJECT_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="issue",
    a_task="an issue",
    which="open issue in the column Todo of a project on GitHub",
    usage="""\
    cp .env.example .env    and write the token into it, once
    athanore doctor         what is missing: the token's permission, columns
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, GitHubProjectBoard""",
    board="""\
    # The project, by its owner and number: https://github.com/orgs/OWNER/projects/1.
    # Other options: repository="OWNER/NAME" (where new tasks are opened), closes=["Done"],
    # status_field="Stage". The token comes from .env or the environment.
    queue_backend=GitHubProjectBoard("OWNER", 1),
    poll_interval=30,  # seconds between two looks, of which each is one request""",
    queues=(
        "# Its queues are the columns (the values of Status). Make Failed as well, or name another "
        "one\n# above.\n"
    ),
)

_GITLAB_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="issue",
    a_task="an issue",
    which="open issue with the label agent::Todo",
    usage="""\
    cp .env.example .env    and write the token into it, once
    athanore doctor         what is missing: the token's scope, labels
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, GitLabBoard""",
    board="""\
    # The project. An issue with the label "agent::Todo" is in the queue "Todo", and so on.
    # Other options: prefix="status::", queues={"Todo": "ready", ...}, board="Development" (its
    # lists), closes=["Done"], url="https://gitlab.example.com". The token comes from .env or the
    # environment.
    queue_backend=GitLabBoard("GROUP/PROJECT"),
    poll_interval=15,  # seconds between two looks""",
    queues=(
        "# Its queues are the labels agent::Todo, agent::In Progress, agent::Done, and "
        "agent::Failed\n# of above.\n"
    ),
)

_JIRA_SCRIPT = _SCRIPT.format(
    first="To Do",
    task="issue",
    a_task="an issue",
    which="issue of the project in the status To Do",
    usage="""\
    cp .env.example .env    and write the token into it, once
    athanore doctor         what is missing: the token's permissions, statuses
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, JiraBoard""",
    board="""\
    # The project. The queues are the statuses of its workflow. Other options: jql="labels = agent",
    # via={"Done": "In Review"} for two transitions, fields={"Done": {"resolution": {"name":
    # "Done"}}} for what a transition asks for. Email and token come from .env or the environment.
    queue_backend=JiraBoard("https://SITE.atlassian.net", "PROJECT"),
    poll_interval=15,  # seconds between two looks""",
    queues="# Its queues are statuses, as the project calls them; Failed of above is one, too.\n",
)

_LINEAR_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="issue",
    a_task="an issue",
    which="issue of a team in Linear whose status is Todo",
    usage="""\
    cp .env.example .env    and write the key into it, once
    athanore doctor         what is missing: the key's permission, statuses
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, LinearBoard""",
    board="""\
    # The team, by its key: "ENG" of ENG-12. The key of the API comes from .env or the environment.
    # Agents do not get it.
    queue_backend=LinearBoard("TEAM"),
    poll_interval=30,  # seconds between two looks, of which each is one request""",
    queues=(
        "# Its queues are the team's statuses. Todo, In Progress and Done are there; make Failed, "
        "of the\n# kind Started, or name another one above.\n"
    ),
)

_PLANKA_SCRIPT = _SCRIPT.format(
    first="Todo",
    task="card",
    a_task="a card",
    which="card in the list Todo of a board on Planka",
    usage="""\
    cp .env.example .env    and write the key into it, once
    athanore doctor         what is missing: the key, lists
    python run.py           starts everything; Ctrl-C stops it
    athanore status         how it is going, from a second terminal""",
    imports="""\
import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher
from athanore.queue_adapters.planka import PlankaBackend""",
    board="""\
    # The server, and the board, as its project and it are called. With several boards the queues
    # below are called "PROJECT.BOARD.Todo" and so on. The key comes from .env or the environment.
    queue_backend=PlankaBackend(url="https://planka.example.com", boards=["PROJECT.BOARD"]),
    poll_interval=15,  # seconds between two looks, of which each is one request for a board""",
    queues="# Its queues are lists of the board. Make Failed as well, or name another one above.\n",
)

_BOARD = """\
{
  "queues": {
    "Todo": [
      {
        "id": "1",
        "name": "Say hello",
        "description": "The first task. Add others while it runs: an id and a name are enough."
      }
    ],
    "In Progress": [],
    "Done": [],
    "Failed": []
  }
}
"""

_AGENT = '''\
#!/usr/bin/env python3
"""The smallest agent: reads its task over the task API and answers with a comment.

Athanore starts it with the prompt as its last argument. Exit code 0 means that the task is done,
any other that the attempt failed. What it prints appears in the run's log.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

task_url = os.environ["ATHANORE_API_URL"] + "/tasks/" + os.environ["ATHANORE_TASK_ID"]
headers = {
    "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"],
    "Content-Type": "application/json",
}
# Without a proxy: the API is on this machine.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(url: str, body: dict | None = None) -> dict:
    """GET, or POST a body, and return the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    for pause in (1, 2, 4, 8, 16, None):
        try:
            with opener.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            # 503: the board or Prefect does not answer just now, and nothing was changed.
            if error.code != 503 or pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


print("I was told:", sys.argv[-1], flush=True)
task = call(task_url)
call(f"{task_url}/comments", {"comment": f"Hello! I have read {task['name']!r}."})
'''

_AGENT_FILE = {"agent.py": _AGENT}

FILES: Final[Mapping[BoardKind, Mapping[str, str]]] = MappingProxyType(
    {
        "json": {
            "run.py": _JSON_SCRIPT,
            "board.json": _BOARD,
            ".env.example": APP_ENV,
            **_AGENT_FILE,
        },
        "sql": {"run.py": _SQL_SCRIPT, ".env.example": APP_ENV, **_AGENT_FILE},
        "github": {"run.py": _GITHUB_SCRIPT, ".env.example": GITHUB_ENV, **_AGENT_FILE},
        "github-project": {"run.py": _PROJECT_SCRIPT, ".env.example": PROJECT_ENV, **_AGENT_FILE},
        "gitlab": {"run.py": _GITLAB_SCRIPT, ".env.example": GITLAB_ENV, **_AGENT_FILE},
        "jira": {"run.py": _JIRA_SCRIPT, ".env.example": JIRA_ENV, **_AGENT_FILE},
        "linear": {"run.py": _LINEAR_SCRIPT, ".env.example": LINEAR_ENV, **_AGENT_FILE},
        "planka": {"run.py": _PLANKA_SCRIPT, ".env.example": PLANKA_ENV, **_AGENT_FILE},
    }
)
"""The contents of the files by their names; `NAME` stands for the app's."""

BOARDS: Final[Mapping[BoardKind, str]] = MappingProxyType(
    {
        "json": "a file, board.json",
        "sql": "a database, SQLite or PostgreSQL",
        "github": "the issues of a repository on GitHub",
        "github-project": "a project on GitHub",
        "gitlab": "the issues of a project on GitLab",
        "jira": "a project on Jira",
        "linear": "a team on Linear",
        "planka": "a board on Planka",
    }
)
"""What the boards are, for people."""

WHAT: Final = MappingProxyType(
    {"run.py": "the app", "board.json": "the tasks", ".env.example": "credentials"}
)
"""What the files are, for people."""

TO_FILL_IN: Final[Mapping[BoardKind, str]] = MappingProxyType(
    {
        "github": "Write a token into .env, and the repository into run.py; `athanore doctor` says "
        "which labels to make.",
        "github-project": "Write a token into .env, and the project into run.py; `athanore doctor` "
        "says which columns to make.",
        "gitlab": "Write a token into .env, and the project into run.py; `athanore doctor` says "
        "which labels to make.",
        "jira": "Write email and token into .env, and the site and the project into run.py; "
        "`athanore doctor` says which statuses are missing.",
        "linear": "Write a key into .env, and the team into run.py; `athanore doctor` says which "
        "statuses to make.",
        "planka": "Write a key into .env, and the server and the board into run.py; "
        "`athanore doctor` says which lists to make.",
    }
)
"""What is to be written into the files of a tracker's board."""
