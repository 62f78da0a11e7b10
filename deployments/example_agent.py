#!/usr/bin/env python3
"""A small agent without any intelligence: reads its task over the API, comments, moves it on.

Usage: example_agent.py --next QUEUE PROMPT
"""

import argparse
import json
import os
import sys
import urllib.parse
import urllib.request


def call(method: str, path: str, body: dict[str, str] | None = None) -> dict[str, object]:
    """Call Athanore's task API, as any program can."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("ATHANORE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        os.environ["ATHANORE_API_URL"] + path,
        method=method,
        headers=headers,
        data=None if body is None else json.dumps(body).encode(),
    )
    # Without a proxy: the API is on this machine or on our own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def main() -> None:
    """Do one task's work."""
    parser = argparse.ArgumentParser(description="An example agent.")
    parser.add_argument("--next", required=True, help="the queue that the task goes to")
    parser.add_argument("prompt", help="what is to be done")
    arguments = parser.parse_args()

    path = "/tasks/" + urllib.parse.quote(os.environ["ATHANORE_TASK_ID"], safe="")
    task = call("GET", path)
    sys.stdout.write(f"{arguments.prompt}\nThe task says: {task['description']}\n")
    call("POST", f"{path}/comments", {"comment": f"Done: {arguments.prompt}"})
    call("POST", f"{path}/move", {"target_queue": arguments.next})


if __name__ == "__main__":
    main()
