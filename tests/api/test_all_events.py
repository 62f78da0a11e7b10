"""The stream of what all agents do begins some seconds before it was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.api.rig import Api, bearer


def events_of(response: httpx.Response, patience: float) -> Iterator[dict[str, Any]]:
    until = time.monotonic() + patience
    for line in response.iter_lines():  # a sign of life comes every 15 s
        if time.monotonic() > until:
            return
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_what_is_said_while_the_stream_connects_to_prefect_comes_too(api: Api) -> None:
    task_id = api.board.create_task("Todo", "Say something").id
    _, token = api.start_run(task_id)
    wanted = [f"word {n}" for n in range(5)]
    with httpx.stream("GET", f"{api.url}/overview/events", timeout=60) as response:
        # Its head is here, and the way to Prefect's live events is only being opened.
        for word in wanted:
            body = {"comment": word}
            api.post(f"/tasks/{task_id}/comments", body, 201, headers=bearer(token))
        heard: list[str] = []
        for event in events_of(response, 120):
            if event["task_id"] == task_id and event["kind"] == "comment":
                heard.append(event["data"]["text"])
            if len(heard) == len(wanted):
                break
    assert sorted(heard) == wanted


def test_a_reader_hears_what_was_said_just_before(api: Api) -> None:
    task_id = api.board.create_task("Todo", "Say something").id
    _, token = api.start_run(task_id)
    body = {"comment": "just before"}
    api.post(f"/tasks/{task_id}/comments", body, 201, headers=bearer(token))
    with httpx.stream("GET", f"{api.url}/overview/events", timeout=60) as response:
        heard = (e for e in events_of(response, 60) if e["task_id"] == task_id)
        assert any(e["data"].get("text") == "just before" for e in heard)
