"""Fixtures of the API's tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from athanore import AgentDispatcher, JsonFileAdapter
from tests.api.rig import Api, served
from tests.support import of_this_process


class Verdict(BaseModel):
    """What agents of the queue Review hand in."""

    verdict: Literal["approve", "reject"]


ODD = "Größe 50%/a.b & c"


def dispatcher(
    path: Path, name: str = "api", *, managed: bool = False, api_host: str = "127.0.0.1"
) -> AgentDispatcher:
    """An app with a JSON board, three routes and a task.

    All tests of a process share its name and so its deployments, because making them takes Prefect
    a while; so every board counts its tasks from another number.
    """
    first = {"id": str(random.randrange(10**6, 10**9) * 1000), "name": "Finished already"}
    queues = {"Todo": [], "In Progress": [], "Review": [], "Done": [first], ODD: []}
    (path / "board.json").write_text(json.dumps({"queues": queues}))
    app = AgentDispatcher(
        name=of_this_process(name),
        queue_backend=JsonFileAdapter(path / "board.json", user="eve"),
        command="true",
        poll_interval=timedelta(days=30),
        api_host=api_host,
        enable_queue_management=managed,
    )
    for queue in ("Todo", "Review", ODD):
        output = Verdict if queue == "Review" else None
        app.route(queue, timeout=60, max_retries=2, output=output)(write_prompt)
    return app


def write_prompt(task_id: str, task_name: str) -> str:
    """The prompt of all routes."""
    return f"{task_id}: {task_name}"


@pytest.fixture
def api(tmp_path: Path, prefect_api: str) -> Iterator[Api]:
    """The API with everything on."""
    with served(dispatcher(tmp_path, managed=True), prefect_api) as it:
        yield it


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Api]:
    """The API while no Prefect server answers; queues may not be changed."""
    with served(dispatcher(tmp_path)) as it:
        yield it


@pytest.fixture
def guarded(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API with tokens required; `OPERATOR` opens it."""
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", OPERATOR)
    app = dispatcher(tmp_path, "guarded", managed=True)
    with served(app, prefect_api) as it:
        yield it


OPERATOR = "operators-key-of-the-test"
