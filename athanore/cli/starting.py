"""Commands for the beginning, and for when something is wrong: init, doctor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from athanore.cli.context import AppArgument, AsJson, app_name, find_app
from athanore.cli.output import console, print_json, say
from athanore.errors import ConfigurationError
from athanore.launch.display import text
from athanore.names import folder_name

_SCRIPT = '''\
"""An Athanore app: every task in the queue Todo of board.json gets an agent.

    python run.py      starts everything; Ctrl-C stops it
    athanore status    how it is going, from a second terminal
"""

import shlex
import sys
from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter

HERE = Path(__file__).parent

dispatcher = AgentDispatcher(
    # Everything in Prefect goes by this name: two apps need two. Best never changed again.
    name=NAME,
    # The program that works on a task: any command. The prompt is its last argument.
    # For Claude Code: command="claude", and args=["-p"] in the route below.
    command=shlex.join([sys.executable, str(HERE / "agent.py")]),
    # The board. Planka and boards of your own work the same way.
    queue_backend=JsonFileAdapter(HERE / "board.json"),
    poll_interval=10,  # seconds between two looks at a queue
    agent_timeout=600,  # seconds that an agent may take
    max_concurrent_agents=2,
    max_retries=1,  # attempts after the first one that failed
    dead_letter_queue="Failed",  # where a task goes when no attempt is left
)


# One route a queue. The function writes the prompt; it may also ask for `task` and `attempt`.
@dispatcher.route("Todo", in_progress_queue="In Progress", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return f"Work on task {task_id}: {task_name}."


if __name__ == "__main__":
    dispatcher.run()
'''

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

_FILES = {"run.py": _SCRIPT, "board.json": _BOARD, "agent.py": _AGENT}


def init(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Made if it is not there.")] = Path(),
    /,
) -> None:
    """Write a commented run.py, a board and an agent that work at once. Nothing is overwritten."""
    there = [str(folder / name) for name in _FILES if (folder / name).exists()]
    if there:
        raise ConfigurationError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing "
            "was written; name another folder: athanore init FOLDER."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        app = folder_name(folder.resolve())  # nothing in it would have to be quoted
        for name, content in _FILES.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(content.replace("name=NAME", f'name="{app}"'))
        (folder / "agent.py").chmod(0o755)
    except OSError as exc:
        where = exc.filename or folder
        raise ConfigurationError(f"{where} cannot be written: {exc.strerror or exc}.") from exc
    for name, what in (("run.py", "the app"), ("board.json", "the tasks"), ("agent.py", "")):
        say(f"  {folder / name}" + (f"  ({what})" if what else ""), "dim")
    say("\nNow:")
    if folder != Path():
        say(f"  cd {folder}", "bold")
    say("  python run.py", "bold")
    say(
        "\nIt starts Prefect, a worker and the task API, and prints their addresses; "
        "Ctrl-C stops it.\nPut your own agent into command= in run.py. "
        "`athanore doctor` says what is missing."
    )


def doctor(app: AppArgument = None, /, *, json: AsJson = False) -> int:
    """Look at everything that an app needs, and say what to mend. Changes nothing.

    The exit code is 1 if something fails.
    """
    from athanore.launch.doctor import Level, examine

    findings = asyncio.run(examine(app_name(app), lambda name: find_app(name)[1]))
    if json:
        print_json(findings)
    else:
        out = console()
        styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        for finding in findings:
            line = text(
                (f"{finding.level:<5}", styles[finding.level]), f"{finding.what:<13} ", finding.says
            )
            out.print(line, soft_wrap=True)
            if finding.mend:
                say(f"{'':<19}{finding.mend}", "dim")
    return 1 if any(f.level is Level.FAIL for f in findings) else 0
