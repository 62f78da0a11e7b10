"""A stand-in for an AI agent: a program that does its work through the task API alone.

It is started as `agent.py --agent ROLE -p PROMPT`. Where it is and what to work on stands in its
environment (ATHANORE_API_URL, ATHANORE_TASK_ID, ATHANORE_ATTEMPT); only the standard library is
used, so this is also an example for agents in other languages.
"""

import argparse
import json
import os
import sys
import time
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

NEXT_QUEUE = {"engineer": "Review", "reviewer": "Done"}
REPORT = {"engineer": "Built and tested.", "reviewer": "Looks good to me."}
THINKING_SECONDS = 1.0
PATIENCE_SECONDS = 60.0

_opener = build_opener(ProxyHandler({}))  # the API is on this machine


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
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
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with _opener.open(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            # 503: the board or Prefect does not answer just now, and nothing was changed.
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(float(error.headers.get("Retry-After", "1")))


def main() -> None:
    """Work on one task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agent", choices=list(NEXT_QUEUE), required=True)
    parser.add_argument("-p", dest="prompt", required=True)
    options = parser.parse_args()

    path = f"/tasks/{quote(os.environ['ATHANORE_TASK_ID'], safe='')}"
    task = call("GET", path)
    print(f"I was told: {options.prompt}", flush=True)
    time.sleep(THINKING_SECONDS)
    first = os.environ["ATHANORE_ATTEMPT"] == "1"
    if options.agent == "engineer" and first and "flaky" in task["labels"]:
        sys.exit("1 of 12 tests failed.")
    call("POST", f"{path}/comments", {"comment": f"{options.agent}: {REPORT[options.agent]}"})
    call("POST", f"{path}/move", {"target_queue": NEXT_QUEUE[options.agent]})


if __name__ == "__main__":
    main()
