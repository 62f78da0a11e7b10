"""A program that stands in for an AI agent: it streams words, reports progress, fails once.

    python -m athanore.agent_adapters.mock_agent --role engineer --next Review -p PROMPT

Where it is and what to work on stands in its environment (ATHANORE_API_URL, ATHANORE_TASK_ID,
ATHANORE_ATTEMPT). It does its work through the task API alone, with nothing but the standard
library, so it is also an example for agents in other languages. Its first attempt at a task with
the label `flaky` fails. In a folder with a branch of its own an engineer commits a file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

_STEPS: Mapping[str, tuple[str, ...]] = {
    "engineer": ("Reading the task", "Looking at the code", "Writing it", "Running 12 tests"),
    "reviewer": ("Reading the comments", "Reading the change"),
}
_REPORTS: Mapping[str, str] = {"engineer": "Built and tested.", "reviewer": "Looks good to me."}
_PATIENCE_SECONDS = 60.0


def main() -> None:
    """Work on one task."""
    parser = argparse.ArgumentParser(description="Pretends to work on a task.")
    parser.add_argument("--role", choices=list(_STEPS), default="engineer")
    parser.add_argument("--next", default="Done", metavar="QUEUE", help="where the task goes then")
    parser.add_argument("--pace", type=float, default=0.5, help="seconds that a step takes")
    parser.add_argument("-p", dest="prompt", required=True)
    options = parser.parse_args()

    path = f"/tasks/{quote(os.environ['ATHANORE_TASK_ID'], safe='')}"
    task = _call("GET", path)
    _say(f"I was told: {options.prompt}")
    steps = _STEPS[options.role]
    for done, step in enumerate(steps):
        _say(f"{step} ...")
        _call("POST", f"{path}/progress", {"percent": 100 * done // len(steps), "text": step})
        time.sleep(options.pace)
    first = os.environ["ATHANORE_ATTEMPT"] == "1"
    if options.role == "engineer" and first and "flaky" in task["labels"]:
        sys.exit("1 of 12 tests failed.")
    if options.role == "engineer" and "ATHANORE_BRANCH" in os.environ:
        _commit(f"task-{task['id']}.md", task["name"])
    _call("POST", f"{path}/comments", {"comment": f"{options.role}: {_REPORTS[options.role]}"})
    _call("POST", f"{path}/move", {"target_queue": options.next})


def _commit(file: str, title: str) -> None:
    """Write a file and commit it, under a name of its own."""
    Path(file).write_text(f"# {title}\n", encoding="utf-8")
    name = ("-c", "user.name=Mock agent", "-c", "user.email=mock@localhost")
    for words in (("add", file), (*name, "commit", "-q", "-m", title)):
        subprocess.run(["git", *words], check=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _call(method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Send a request to the task API and return its answer."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("ATHANORE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = Request(
        os.environ["ATHANORE_API_URL"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers=headers,
    )
    opener = build_opener(ProxyHandler({}))  # the API is on this machine
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with opener.open(request, timeout=30) as response:
                text = response.read()
                return json.loads(text) if text else {}
        except HTTPError as error:
            # 503: the board or Prefect does not answer just now, and nothing was changed.
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(float(error.headers.get("Retry-After", "1")))


if __name__ == "__main__":
    main()
