"""`/tasks/{id}/result`: what agents hand in, and what they have handed in."""

from __future__ import annotations

from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer

APPROVED = {"result": {"verdict": "approve"}}


def test_an_agent_hands_in_its_result_and_its_own_only(guarded: Api) -> None:
    guarded.deploy()
    mine = guarded.board.create_task("Review", "Look at it").id
    other = guarded.board.create_task("Todo", "Fix it").id
    (run_id, token), (_, others) = guarded.start_run(mine), guarded.start_run(other)
    path = f"/tasks/{mine}/result"
    problem = guarded.post(path, {"result": {"verdict": "?"}}, 422, headers=bearer(token))
    assert problem["type"] == "urn:athanore:problem:result-refused"
    assert [e["field"] for e in problem["errors"]] == ["result.verdict"]
    assert "hand in the whole result again" in problem["detail"]
    guarded.get(path, 404, headers=bearer(token))
    expected = {"task_id": mine, "run_id": run_id, **APPROVED}
    assert guarded.post(path, APPROVED, 200, headers=bearer(token)) == expected
    assert guarded.get(path, headers=bearer(OPERATOR)) == expected
    guarded.post(path, APPROVED, 403, headers=bearer(others))
    problem = guarded.post(f"/tasks/{other}/result", APPROVED, 409, headers=bearer(others))
    assert "Route 'Todo' takes no result" in problem["detail"]
    guarded.end_run(run_id)
    guarded.post(path, APPROVED, 409, headers=bearer(token))
    assert guarded.get(path, headers=bearer(OPERATOR)) == expected


def test_without_an_agent_there_is_no_result(api: Api) -> None:
    api.deploy()
    task_id = api.board.create_task("Review", "Look at it").id
    problem = api.post(f"/tasks/{task_id}/result", APPROVED, 409)
    assert problem["detail"] == f"No agent works on task {task_id!r}, so there is no result."
    api.get(f"/tasks/{task_id}/result", 404)
    run_id, _ = api.start_run(task_id)
    assert api.post(f"/tasks/{task_id}/result", APPROVED, 200)["run_id"] == run_id
