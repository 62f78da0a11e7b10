"""Tokens: what they open, and that they die with their run."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from athanore import tokens
from athanore.flows import control
from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer


def new_task(api: Api) -> str:
    return api.board.create_task("Todo", "Fix it").id


def comment(api: Api, task_id: str, status: int, token: str | None) -> dict[str, str]:
    headers = bearer(token) if token else {}
    return api.post(f"/tasks/{task_id}/comments", {"comment": "x"}, status, headers=headers)


def test_without_a_token_nothing_is_told(guarded: Api) -> None:
    for path in ("/tasks", "/queues", "/agents", "/status", "/routes"):
        response = guarded.http.get(path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "ATHANORE_TOKEN" in response.json()["detail"]
        guarded.get(path, headers=bearer(OPERATOR))
    assert "ATHANORE_TOKEN" in guarded.http.get("/").text


@pytest.mark.parametrize("token", ["wrong", "ath_x", f"ath_{UUID(int=7)}_{'x' * 43}"])
def test_a_forged_token_opens_nothing(guarded: Api, token: str) -> None:
    guarded.get("/queues", 401, headers=bearer(token))
    comment(guarded, new_task(guarded), 401, token)


def test_an_agent_may_write_to_its_own_task_only(guarded: Api) -> None:
    mine, other = new_task(guarded), new_task(guarded)
    _, token = guarded.start_run(mine)
    comment(guarded, mine, 201, token)
    assert repr(mine) in comment(guarded, other, 403, token)["detail"]
    headers = bearer(token)
    guarded.call("PATCH", f"/tasks/{other}", {"name": "x"}, status=403, headers=headers)
    guarded.call("PATCH", f"/tasks/{mine}", {"name": "x"}, headers=headers)
    guarded.post("/queues", {"name": "x"}, 403, headers=headers)
    guarded.call("DELETE", "/queues/Done", status=403, headers=headers)
    guarded.get(f"/tasks/{other}", headers=headers)
    guarded.post("/tasks", {"queue_name": "Done", "name": "more"}, 201, headers=headers)
    assert guarded.board.get_task(other).comments == ()
    comment(guarded, other, 201, OPERATOR)


def test_an_agent_is_kept_alive_by_its_own_calls_only(guarded: Api) -> None:
    task_id, other = new_task(guarded), new_task(guarded)
    run_id, token = guarded.start_run(task_id)
    _, anothers = guarded.start_run(other)
    signs: list[str] = []
    with control.controlled(UUID(run_id), task_id) as handle:
        handle.on_activity = lambda: signs.append("heard")
        comment(guarded, task_id, 201, OPERATOR)
        move = {"target_queue": "In Progress"}
        guarded.post(f"/tasks/{task_id}/move", move, 200, headers=bearer(OPERATOR))
        guarded.get(f"/tasks/{task_id}", headers=bearer(anothers))
        assert signs == []
        guarded.get(f"/tasks/{task_id}", headers=bearer(token))
        assert signs == ["heard"]


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "CANCELLING", "CRASHED"])
def test_a_token_dies_with_its_run(guarded: Api, state: str) -> None:
    task_id = new_task(guarded)
    run_id, token = guarded.start_run(task_id)
    comment(guarded, task_id, 201, token)
    guarded.end_run(run_id, state)
    assert comment(guarded, task_id, 409, token)["type"] == "urn:athanore:problem:run-ended"
    guarded.post(f"/tasks/{task_id}/move", {"target_queue": "Done"}, 409, headers=bearer(token))
    task = guarded.board.get_task(task_id)
    assert (len(task.comments), task.queue_name) == (1, "Todo")


def test_a_dead_token_changes_nothing_in_an_open_api_either(api: Api) -> None:
    task_id = new_task(api)
    run_id, token = api.start_run(task_id)
    comment(api, task_id, 201, token)
    api.end_run(run_id)
    comment(api, task_id, 409, token)
    comment(api, task_id, 401, tokens.new_token(uuid4()))
    comment(api, task_id, 201, None)
    api.get("/queues", headers=bearer(token))


def test_the_token_of_an_earlier_attempt_is_over(api: Api) -> None:
    task_id = new_task(api)
    run_id, token = api.start_run(task_id)
    api.end_run(run_id, "SCHEDULED")
    comment(api, task_id, 409, token)
    api.end_run(run_id, "RUNNING")
    comment(api, task_id, 409, token)


def test_another_apps_token_is_nothing_here(api: Api, guarded: Api) -> None:
    _, token = guarded.start_run(new_task(guarded))
    comment(api, new_task(api), 401, token)


def test_tokens_are_never_shown(api: Api) -> None:
    task_id = new_task(api)
    _, token = api.start_run(task_id)
    api.post(f"/tasks/{task_id}/comments", {"comment": f"my token is {token}!"}, 201)
    assert api.board.get_task(task_id).comments[0].text == "my token is [redacted]!"
    api.board.add_comment(task_id, f"by hand: {token}")
    assert token not in api.http.get(f"/tasks/{task_id}").text


def test_keys_are_never_shown(guarded: Api) -> None:
    task_id = new_task(guarded)
    guarded.board.add_comment(task_id, f"the key is {OPERATOR}")
    text = guarded.http.get(f"/tasks/{task_id}", headers=bearer(OPERATOR)).text
    assert OPERATOR not in text and "the key is [redacted]" in text
