"""The endpoints of tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.errors import BoardUnavailableError
from tests.api.conftest import dispatcher, write_prompt
from tests.api.rig import Api, bearer, served
from tests.support import wait_until


@pytest.fixture
def task_id(api: Api) -> str:
    return api.board.create_task("Todo", "Fix it", "It is broken.").id


def test_a_task_is_shown_whole(api: Api, task_id: str) -> None:
    api.board.add_comment(task_id, "first")
    api.board.add_comment(task_id, "second")
    task = api.get(f"/tasks/{task_id}")
    comments = task.pop("comments")
    assert [c["text"] for c in comments] == ["first", "second"]
    assert comments[0]["author"] == "eve" and comments[0]["created_at"]
    assert task == {
        "id": task_id,
        "name": "Fix it",
        "queue_name": "Todo",
        "description": "It is broken.",
        "labels": [],
        "assignees": [],
        "url": None,
        "author": None,
        "priority": None,
        "created_at": None,
        "updated_at": None,
        "tasks": [],
        "retry_count": 0,
        "active_run": None,
    }


def test_tasks_are_listed_by_queue(api: Api, task_id: str) -> None:
    assert [t["name"] for t in api.get("/tasks")] == ["Fix it", "Finished already"]
    assert [t["id"] for t in api.get("/tasks", params={"queue": "Todo"})] == [task_id]
    problem = api.get("/tasks", 404, params={"queue": "Tod"})
    assert "Todo" in problem["existing"] and "Did you mean 'Todo'?" in problem["detail"]


def test_an_unknown_task_is_answered_with_those_that_exist(api: Api, task_id: str) -> None:
    for method, path, body in [
        ("GET", "/tasks/nope", None),
        ("PATCH", "/tasks/nope", {"name": "x"}),
        ("POST", "/tasks/nope/comments", {"comment": "x"}),
        ("POST", "/tasks/nope/progress", {"percent": 1}),
        ("POST", "/tasks/nope/move", {"target_queue": "Done"}),
        ("POST", "/tasks/nope/dispatch", {}),
        ("POST", "/tasks/nope/cancel", {}),
        ("GET", "/tasks/nope/events", None),
    ]:
        problem = api.call(method, path, body, status=404)
        assert problem["type"] == "urn:athanore:problem:task-not-found"
        assert task_id in problem["existing"]
        assert "Fix it" in problem["detail"]


def test_only_the_fields_that_are_sent_change(api: Api, task_id: str) -> None:
    task = api.call("PATCH", f"/tasks/{task_id}", {"labels": ["bug"], "description": ""})
    assert (task["labels"], task["description"], task["name"]) == (["bug"], "", "Fix it")
    assert api.call("PATCH", f"/tasks/{task_id}", {"labels": []})["labels"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": " "}, "body.name"),
        ({"labels": "bug"}, "body.labels"),
        ({"queue": "Done"}, "body.queue"),
        ([], "body"),
    ],
)
def test_a_bad_update_names_the_field(api: Api, task_id: str, body: object, field: str) -> None:
    problem = api.call("PATCH", f"/tasks/{task_id}", body, status=422)
    assert [e["field"] for e in problem["errors"]] == [field]
    assert api.board.get_task(task_id).name == "Fix it"


def test_a_comment_is_posted(api: Api, task_id: str) -> None:
    assert api.post(f"/tasks/{task_id}/comments", {"comment": "Hallo Größe"}, 201)["text"]
    assert [c.text for c in api.board.get_task(task_id).comments] == ["Hallo Größe"]
    problem = api.post(f"/tasks/{task_id}/comments", {"comment": "  "}, 422)
    assert problem["errors"][0]["field"] == "body.comment"


def test_what_cannot_be_stored_is_replaced(api: Api, task_id: str) -> None:
    assert api.post(f"/tasks/{task_id}/comments", {"comment": "a\0b"}, 201)["text"] == "a\ufffdb"
    assert api.call("PATCH", f"/tasks/{task_id}", {"name": "n\0"})["name"] == "n\ufffd"
    made = api.post("/tasks", {"queue_name": "Done", "name": "n\0", "description": "\0"}, 201)
    task = api.board.get_task(made["id"])
    assert (task.name, task.description) == ("n\ufffd", "\ufffd")
    lone = b'{"comment": "\\ud800"}'
    headers = {"Content-Type": "application/json"}
    answer = api.http.post(f"/tasks/{task_id}/comments", content=lone, headers=headers)
    assert answer.status_code in (201, 422)
    assert [c.text for c in api.board.get_task(task_id).comments][:1] == ["a\ufffdb"]


def test_one_idempotency_key_is_one_comment(api: Api, task_id: str) -> None:
    path, key = f"/tasks/{task_id}/comments", {"Idempotency-Key": "k1"}
    for _ in range(3):
        api.post(path, {"comment": "once"}, 201, headers=key)
    assert "k1" in api.post(path, {"comment": "other"}, 409, headers=key)["detail"]
    api.post(path, {"comment": "once"}, 201, headers={"Idempotency-Key": "k2"})
    other = api.board.create_task("Todo", "Other").id
    api.post(f"/tasks/{other}/comments", {"comment": "once"}, 201, headers=key)
    assert [c.text for c in api.board.get_task(task_id).comments] == ["once", "once"]
    assert len(api.board.get_task(other).comments) == 1


def test_a_key_is_known_to_the_next_process_and_another_key_is_another_comment(
    tmp_path: Path,
) -> None:
    board = dispatcher(tmp_path)
    task_id = board.board.create_task("Todo", "Fix it").id

    def say(api: Api, text: str, key: str | None, status: int = 201) -> list[str]:
        headers = {"Idempotency-Key": key} if key else {}
        api.post(f"/tasks/{task_id}/comments", {"comment": text}, status, headers=headers)
        return [c.text for c in api.board.get_task(task_id).comments]

    with served(board) as api:
        assert say(api, "once", "k1") == ["once"]
        assert say(api, "once", "k2") == ["once"] * 2
    with served(board) as api:
        for key in ("k1", "k2"):
            assert say(api, "once", key) == ["once"] * 2, "a repeat"
        assert say(api, "other", "k1", 409) == ["once"] * 2
        assert say(api, "once", "k3") == ["once"] * 3, "equal words, and a key of their own"
        assert say(api, "once", None) == ["once"] * 4


class Interrupted(JsonFileAdapter):
    """A board whose API process ends while a comment is posted: before or after it is written."""

    written = False

    def add_comment(self, task_id: str, text: str) -> None:
        if self.written:
            super().add_comment(task_id, text)
        raise BoardUnavailableError("the process was killed")


@pytest.mark.parametrize("written", [True, False])
def test_a_comment_that_was_not_answered_is_there_once(tmp_path: Path, written: bool) -> None:
    whole = dispatcher(tmp_path)
    task_id = whole.board.create_task("Todo", "Fix it").id
    killed = Interrupted(tmp_path / "board.json", user="eve")
    killed.written = written
    broken = AgentDispatcher(name=whole.name, command="true", queue_backend=killed)
    broken.route("Todo")(write_prompt)
    path, key = f"/tasks/{task_id}/comments", {"Idempotency-Key": "k1"}
    with served(whole) as api:
        api.post(path, {"comment": "once"}, 201, headers={"Idempotency-Key": "earlier"})
    with served(broken) as api:
        api.post(path, {"comment": "once"}, 503, headers=key)
    with served(whole) as api:
        for _ in range(2):
            api.post(path, {"comment": "once"}, 201, headers=key)
    assert [c.text for c in whole.board.get_task(task_id).comments] == ["once"] * 2


def test_a_key_whose_request_failed_can_be_used_again(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"queue_name": "Later", "name": "New"}
    api.post("/tasks", body, 404, headers=key)
    api.board.create_queue("Later")
    first = api.post("/tasks", body, 201, headers=key)
    assert api.post("/tasks", body, 201, headers=key)["id"] == first["id"]
    assert api.board.get_queue("Later").task_count == 1


def test_a_task_created_in_a_watched_queue_is_dispatched_at_once(api: Api) -> None:
    body = {"queue_name": "Todo", "name": "New", "description": "All of it"}
    response = api.http.post("/tasks", json=body)
    assert response.status_code == 201
    task = response.json()
    assert response.headers["location"] == f"/tasks/{task['id']}"
    assert task["active_run"]["state"] == "Scheduled"
    assert task["active_run"]["queue_name"] == "Todo"
    assert api.prefect.run(task["id"])["id"] == task["active_run"]["id"]
    assert api.get(f"/tasks/{task['id']}")["active_run"]["id"] == task["active_run"]["id"]


def test_a_task_created_elsewhere_waits_for_a_person(api: Api) -> None:
    task = api.post("/tasks", {"queue_name": "Done", "name": "New"}, 201)
    assert task["active_run"] is None
    assert api.prefect.runs(task["id"]) == []


def test_an_unknown_queue_is_answered_with_those_that_exist(api: Api, task_id: str) -> None:
    for path, body in [
        ("/tasks", {"queue_name": "Dome", "name": "x"}),
        (f"/tasks/{task_id}/move", {"target_queue": "Dome"}),
    ]:
        problem = api.post(path, body, 404)
        assert problem["type"] == "urn:athanore:problem:queue-not-found"
        assert "Done" in problem["existing"] and "'Done'" in problem["detail"]
    assert api.board.get_task(task_id).queue_name == "Todo"


def test_a_move_into_a_watched_queue_dispatches_at_once(api: Api) -> None:
    task_id = api.board.create_task("Done", "Look at it").id
    task = api.post(f"/tasks/{task_id}/move", {"target_queue": "Review"}, 200)
    assert task["queue_name"] == "Review"
    assert task["active_run"]["queue_name"] == "Review"
    assert len(api.prefect.runs(task_id)) == 1


def test_a_move_while_an_agent_works_dispatches_nothing(api: Api, task_id: str) -> None:
    run_id, _ = api.start_run(task_id)
    task = api.post(f"/tasks/{task_id}/move", {"target_queue": "Review"}, 200)
    assert task["active_run"]["id"] == run_id
    assert len(api.prefect.runs(task_id)) == 1


def test_dispatching_twice_gives_the_same_run(api: Api, task_id: str) -> None:
    first = api.post(f"/tasks/{task_id}/dispatch", {}, 202)
    assert api.post(f"/tasks/{task_id}/dispatch", {}, 202)["id"] == first["id"]


def test_dispatching_answers_with_the_run_of_the_queue_that_the_task_is_in(
    api: Api, task_id: str
) -> None:
    first = api.post(f"/tasks/{task_id}/dispatch", {}, 202)
    api.board.move_task(task_id, "Review")
    second = api.post(f"/tasks/{task_id}/dispatch", {}, 202)
    assert (first["queue_name"], second["queue_name"]) == ("Todo", "Review")
    states = {r["id"]: r["state"] for r in api.get(f"/tasks/{task_id}/runs")}
    assert states == {first["id"]: "Superseded", second["id"]: "Scheduled"}


def test_dispatching_is_refused_where_it_makes_no_sense(api: Api, task_id: str) -> None:
    done = api.board.get_ready_tasks(["Done"])[0].id
    assert "'Todo'" in api.post(f"/tasks/{done}/dispatch", {}, 409)["detail"]
    api.start_run(task_id)
    assert "agent run already" in api.post(f"/tasks/{task_id}/dispatch", {}, 409)["detail"]


def test_cancelling_a_run(api: Api, task_id: str) -> None:
    assert "nothing to cancel" in api.post(f"/tasks/{task_id}/cancel", {}, 409)["detail"]
    run_id, _ = api.start_run(task_id)
    run = api.post(f"/tasks/{task_id}/cancel", {"reason": "not needed"}, 202)
    assert (run["id"], run["state"]) == (run_id, "Cancelling")
    assert api.prefect.run(task_id)["state"]["message"] == "by the task API: not needed"


def test_cancelling_a_run_that_waits(api: Api, task_id: str) -> None:
    api.post(f"/tasks/{task_id}/dispatch", {}, 202)
    run = api.post(f"/tasks/{task_id}/cancel", {"reason": "superseded by #42"}, 202)
    assert run["state"] == "Cancelled"
    assert api.get(f"/tasks/{task_id}/runs")[0]["message"] == "by the task API: superseded by #42"


def test_the_board_works_while_prefect_is_away(lonely: Api) -> None:
    task = lonely.post("/tasks", {"queue_name": "Done", "name": "New"}, 201)
    moved = lonely.post(f"/tasks/{task['id']}/move", {"target_queue": "Todo"}, 200)
    assert moved["queue_name"] == "Todo"
    assert (moved["active_run"], moved["retry_count"]) == (None, None)
    lonely.post(f"/tasks/{task['id']}/comments", {"comment": "x"}, 201)
    problem = lonely.post(f"/tasks/{task['id']}/dispatch", {}, 503)
    assert problem["type"] == "urn:athanore:problem:prefect-unavailable"


def test_progress_is_one_artifact_of_the_run_and_the_newest_report_wins(
    api: Api, task_id: str
) -> None:
    path = f"/tasks/{task_id}/progress"
    problem = api.call("POST", path, {"percent": 1}, status=409)
    assert problem["type"] == "urn:athanore:problem:no-agent"
    run_id, token = api.start_run(task_id)
    api.call("POST", path, {"percent": 101}, status=422)
    api.call("POST", path, {"text": "half"}, status=422)

    def artifacts() -> list[dict[str, Any]]:
        wanted = {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["progress"]}}
        return api.prefect.post("/artifacts/filter", {"artifacts": wanted})

    # Whoever knows no token speaks for the agent at work, where tokens are not required.
    api.call("POST", path, {"percent": 5}, status=202)
    wait_until("it is in Prefect", artifacts)
    sent = 20
    for i in range(1, sent):
        body = {"percent": i * 2.5, "text": f"Test {i} of 40"}
        api.call("POST", path, body, status=202, headers=bearer(token))
    body = {"percent": 50, "text": f"Test 20 of 40, {token}"}
    answer = api.call("POST", path, body, status=202, headers=bearer(token))
    assert answer == {"percent": 50.0, "text": "Test 20 of 40, [redacted]"}
    wait_until("the newest report is in Prefect", lambda: artifacts()[0]["data"] == 50)
    (artifact,) = artifacts()
    assert artifact["description"] == "Test 20 of 40, \\[redacted\\]"
    assert artifact["key"] is None

    def reported() -> list[float]:
        events = api.get(f"/agents/{task_id}")["events"]
        return [e["data"]["percent"] for e in events if e["kind"] == "progress"]

    wait_until("the last event is there", lambda: reported()[-1:] == [50])
    assert reported()[0] == 5 and len(reported()) < sent

    def card() -> str | None:
        # While nobody looks nobody listens, so the first report may be missed.
        api.call("POST", path, {"percent": 60.5, "text": "Nearly\nthere"}, status=202)
        (found,) = [c for c in api.get("/board")["cards"] if c["id"] == task_id]
        return found["run"]["last_line"]

    wait_until("its card shows it", lambda: card() == "60.5 %: Nearly there")


def test_what_is_dispatched_is_due_by_prefects_clock(api: Api, task_id: str) -> None:
    wrong = datetime.now(UTC) + timedelta(hours=3)
    api.app.clock.heard(format_datetime(wrong))  # before Prefect's clock was set right
    api.post(f"/tasks/{task_id}/dispatch", {}, 202)
    due = datetime.fromisoformat(api.prefect.run(task_id)["expected_start_time"])
    assert abs(due - datetime.now(UTC)) < timedelta(minutes=2)
