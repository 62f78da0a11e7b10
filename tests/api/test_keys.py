"""Keys of people: what they open at /mcp, and that they open nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.client.schemas.actions import VariableUpdate

from athanore.runs.kept import keys
from athanore.runs.kept.keys import Scope
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer
from tests.api.test_mcp import AGENTS, answer, listed, new_task, post, refused, use
from tests.support import wait_until

READ = {"get_task", "list_tasks", "list_queues", "list_questions", "explain_task"}
STEER = READ | {
    "add_comment",
    "move_task",
    "create_task",
    "answer_question",
    "dispatch_task",
    "cancel_task",
}


def make(api: Api, scope: Scope, signing_key: bytes = OPERATOR.encode()) -> tuple[keys.Key, str]:
    """Make a key as `athanore key create` does."""

    async def work(client: PrefectRunStore) -> tuple[keys.Key, str]:
        return await keys.create(client, api.app.name, "eve", scope, signing_key)

    return api.with_prefect(work)


def test_a_key_that_reads_sees_the_board_and_changes_nothing(guarded: Api) -> None:
    task_id = new_task(guarded)
    _, key = make(guarded, "read")
    assert set(listed(guarded, key)) == READ
    assert use(guarded, key, "get_task", task_id=task_id)["name"] == "Fix it"
    assert task_id in {task["id"] for task in use(guarded, key, "list_tasks", queue_name="Todo")}
    assert use(guarded, key, "explain_task", task_id=task_id)["task_id"] == task_id
    assert "no-task" in refused(guarded, key, "get_task")
    for tool in (STEER | AGENTS) - READ:
        said = refused(guarded, key, tool, task_id=task_id, comment="x", target_queue="Done")
        assert "There is no tool" in said and "list_tasks" in said
    task = guarded.board.get_task(task_id)
    assert (task.comments, task.queue_name) == ((), "Todo")


def test_a_key_that_steers_moves_tasks_and_stops_agents(guarded: Api) -> None:
    task_id = new_task(guarded)
    _, key = make(guarded, "steer")
    assert set(listed(guarded, key)) == STEER
    use(guarded, key, "add_comment", task_id=task_id, comment="Look at the cache.")
    use(guarded, key, "dispatch_task", task_id=task_id)
    use(guarded, key, "cancel_task", task_id=task_id, reason="wrong task")
    use(guarded, key, "move_task", task_id=task_id, target_queue="Done")
    made = use(guarded, key, "create_task", queue_name="Done", name="Tidy up")
    task = guarded.board.get_task(task_id)
    assert ([c.text for c in task.comments], task.queue_name) == (["Look at the cache."], "Done")
    assert guarded.board.get_task(made["id"]).name == "Tidy up"
    run = guarded.get(f"/tasks/{task_id}/runs", headers=bearer(OPERATOR))[0]
    assert run["message"] == "by eve: wrong task"
    assert 'destructiveHint": true' in json.dumps(listed(guarded, key)["cancel_task"])


@pytest.mark.parametrize("scope", ["read", "steer"])
def test_a_key_opens_nothing_but_mcp(guarded: Api, scope: Scope) -> None:
    _, key = make(guarded, scope)
    for method, path, body in (
        ("GET", "/tasks", None),
        ("GET", "/routes", None),
        ("POST", "/queues", {"name": "x"}),
        ("POST", "/routes", {"queue_name": "Done", "prompt": "x", "command": "true"}),
        ("POST", "/routes/Todo/pause", {}),
    ):
        problem = guarded.call(method, path, body, status=401, headers=bearer(key))
        assert "open /mcp only" in problem["detail"]


def test_a_key_that_is_revoked_or_forged_opens_nothing(guarded: Api) -> None:
    kept, key = make(guarded, "read")
    listed(guarded, key)
    _, anothers = make(guarded, "read", b"another-operators-key")
    assert post(guarded, "tools/list", {}, bearer(anothers)).status_code == 401
    made_up = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert post(guarded, "tools/list", {}, bearer(made_up)).status_code == 401

    async def promote(client: PrefectRunStore) -> None:
        variable = await client.read_variable_by_name(f"athanore-key-{kept.id}")
        assert variable is not None and isinstance(variable.value, dict)
        value: dict[str, Any] = {**variable.value, "scope": "steer"}
        await client.update_variable(VariableUpdate(name=variable.name, value=value))

    def is_refused() -> bool:
        return post(guarded, "tools/list", {}, bearer(key)).status_code == 401

    guarded.with_prefect(promote)  # whoever writes to Prefect gives no key more than it had
    wait_until("the key that was tampered with is refused", is_refused)

    kept, key = make(guarded, "steer")
    listed(guarded, key)
    guarded.with_prefect(lambda client: keys.revoke(client, kept))
    wait_until("the key that was revoked is refused", is_refused)


def test_only_a_proof_of_a_key_is_kept_and_none_is_shown(guarded: Api) -> None:
    kept, key = make(guarded, "steer")

    async def work(client: PrefectRunStore) -> str:
        variables = await client.read_variables()
        return "".join(v.model_dump_json() for v in variables)

    written = guarded.with_prefect(work)
    assert kept.id in written and key not in written and key[-43:] not in written
    task_id = new_task(guarded)
    use(guarded, key, "add_comment", task_id=task_id, comment=f"mine is {key}!")
    assert guarded.board.get_task(task_id).comments[0].text == "mine is [redacted]!"


def test_an_open_api_has_the_agents_set_only(api: Api) -> None:
    _, key = make(api, "steer")
    assert set(listed(api, key)) == AGENTS | {"submit_result"}
    assert answer(api, key, "dispatch_task", task_id=new_task(api))["isError"]
