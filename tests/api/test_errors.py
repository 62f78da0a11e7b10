"""Errors that any endpoint may answer: one shape, and each says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from athanore import AgentDispatcher, JsonFileAdapter, Task
from athanore.runs.records import tokens
from tests.api.conftest import dispatcher
from tests.api.rig import Api, served

JSON = {"Content-Type": "application/json"}


def test_an_unknown_path(lonely: Api) -> None:
    problem = lonely.get("/nothing/here", 404)
    assert "/docs" in problem["detail"] and "/nothing/here" in problem["detail"]


class Counting(JsonFileAdapter):
    """Counts how often all tasks of the board are read."""

    reads = 0

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self.reads += 1
        return super().get_ready_tasks(queue_names)


def test_a_wrong_id_costs_no_reading_of_the_whole_board(tmp_path: Path) -> None:
    first = dispatcher(tmp_path).board.create_task("Todo", "Fix it")
    board = Counting(tmp_path / "board.json", user="eve")
    with served(AgentDispatcher(name="api", command="true", queue_backend=board)) as api:
        for _ in range(5):
            assert first.id in api.get("/tasks/none", 404)["existing"]
    assert board.reads <= 2, "one more if the file was too young for its change stamp"


def test_a_method_that_does_not_work(lonely: Api) -> None:
    response = lonely.http.put("/tasks", json={})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert "use GET, POST" in response.json()["detail"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_only_json_changes_anything(lonely: Api, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = lonely.http.post(
        "/tasks", content='{"queue_name": "Done", "name": "x"}', headers=headers
    )
    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]
    assert lonely.board.get_queue("Done").task_count == 1


@pytest.mark.parametrize("body", ["{", "\xff", "[" * 100_000, "", '"\\ud800"', "nan"])
def test_a_body_that_is_no_json(lonely: Api, body: str) -> None:
    response = lonely.http.post("/tasks", content=body.encode("latin-1"), headers=JSON)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("body")


def test_text_that_is_no_text(lonely: Api) -> None:
    response = lonely.http.post(
        "/tasks", content='{"queue_name": "Done", "name": "\\ud800"}', headers=JSON
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.name"


def test_a_body_that_is_too_large(lonely: Api) -> None:
    text = "x" * (1024 * 1024)
    problem = lonely.post("/tasks/1/comments", {"comment": text}, 413)
    assert "1 MiB" in problem["detail"]
    lonely.post("/tasks", {"queue_name": "Done", "name": "x", "description": text[:-1000]}, 201)


def test_a_body_that_is_too_large_without_saying_so(lonely: Api) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    response = lonely.http.post("/tasks", content=chunks(), headers=JSON)
    assert response.status_code == 413


def test_a_broken_board(lonely: Api, tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text('{"queues": ')
    response = lonely.http.get("/queues")
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["type"] == "urn:athanore:problem:board-broken"
    assert "board.json" in response.json()["detail"]


def test_agents_while_prefect_is_away(lonely: Api) -> None:
    assert lonely.get("/agents", 503)["type"] == "urn:athanore:problem:prefect-unavailable"
    lonely.get("/agents/1", 503)
    (task,) = lonely.board.get_ready_tasks(["Done"])
    lonely.get(f"/tasks/{task.id}/events", 503)
    status = lonely.get("/status")
    assert status["healthy"] is status["prefect"]["reachable"] is False
    assert status["active_agents"] is None


def test_anybody_may_read_while_a_token_cannot_be_checked(lonely: Api) -> None:
    lonely.http.headers["Authorization"] = f"Bearer {tokens.new_token(uuid4())}"
    (task,) = lonely.get("/tasks?queue=Done")
    assert lonely.get(f"/tasks/{task['id']}")["active_run"] is None
    # A write waits: the token may belong to a run that is over.
    lonely.post(f"/tasks/{task['id']}/comments", {"comment": "x"}, 503)
