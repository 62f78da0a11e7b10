"""Questions over HTTP: who may ask, who may answer, and what is said to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Timer
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient

from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer
from tests.api.test_keys import make
from tests.api.test_mcp import refused, use


def made(api: Api) -> tuple[str, str]:
    """A task with an agent at work; returns its id and the agent's token."""
    task_id = api.board.create_task("Todo", "Paint it").id
    return task_id, api.start_run(task_id)[1]


@pytest.mark.smoke
def test_an_agent_asks_and_only_a_person_answers(guarded: Api) -> None:
    task_id, token = made(guarded)
    agent, operator = bearer(token), bearer(OPERATOR)
    body = {"question": "Which colour?", "choices": ["red", "blue"]}
    asked = guarded.post(f"/tasks/{task_id}/questions", body, 201, headers=agent)
    assert (asked["state"], asked["answer"]) == ("pending", None)
    path = f"/questions/{asked['id']}/answer"
    refused = guarded.post(path, {"answer": "red"}, 403, headers=agent)
    assert "token is for task" in refused["detail"] or "a person does" in refused["detail"]
    guarded.post(path, {"answer": "red"}, 401)
    assert asked["id"] in [q["id"] for q in guarded.get("/questions", headers=agent)]
    wrong = guarded.post(path, {"answer": "green"}, 422, headers=operator)
    assert "none of the choices: 'red', 'blue'" in wrong["detail"]
    done = guarded.post(path, {"answer": "Red", "by": "eve"}, 200, headers=operator)
    assert (done["state"], done["answer"], done["answered_by"]) == ("answered", "red", "eve")
    guarded.post(path, {"answer": "blue"}, 404, headers=operator)
    again = guarded.post(f"/tasks/{task_id}/questions", body, 201, headers=agent)
    assert (again["id"], again["answer"]) == (asked["id"], "red")
    (listed,) = guarded.get(f"/tasks/{task_id}/questions", headers=operator)
    assert listed["answered_by"] == "eve"
    texts = [c.text for c in guarded.board.get_task(task_id).comments]
    assert texts[-1] == f"Answer to question {asked['id']} by eve: red"


def test_an_agent_asks_about_its_own_task_only_and_while_it_works(guarded: Api) -> None:
    _, token = made(guarded)
    other = guarded.board.create_task("Todo", "Another").id
    body = {"question": "Which colour?"}
    guarded.post(f"/tasks/{other}/questions", body, 403, headers=bearer(token))
    guarded.post(f"/tasks/{other}/questions", body, 409, headers=bearer(OPERATOR))
    for unknown in ("nothing", "%C3%A9" * 60):  # 60 characters
        guarded.get(f"/questions/{unknown}", 404, headers=bearer(OPERATOR))


def test_where_no_tokens_are_needed_an_agents_token_answers_nothing(api: Api) -> None:
    task_id, token = made(api)
    asked = api.post(f"/tasks/{task_id}/questions", {"question": "Which?"}, 201)
    refused = api.post(
        f"/questions/{asked['id']}/answer", {"answer": "red"}, 403, headers=bearer(token)
    )
    assert "Agents neither answer questions" in refused["detail"]


@pytest.mark.smoke
def test_an_agent_waits_for_its_answer_by_mcp(guarded: Api) -> None:
    task_id, token = made(guarded)
    pending = use(guarded, token, "ask_person", question="Which size?", wait_s=0.1)
    assert pending["state"] == "pending"
    path = f"/questions/{pending['id']}/answer"
    later = Timer(0.3, lambda: guarded.post(path, {"answer": "M"}, 200, headers=bearer(OPERATOR)))
    later.start()
    said = use(guarded, token, "ask_person", question="Which size?", wait_s=30)
    later.join()
    assert (said["id"], said["state"], said["answer"]) == (pending["id"], "answered", "M")
    assert (
        task_id == guarded.get(f"/tasks/{task_id}/questions", headers=bearer(token))[0]["task_id"]
    )


def test_a_schema_is_answered_as_json(guarded: Api) -> None:
    task_id, token = made(guarded)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = {"question": "How many?", "answer_schema": schema}
    asked = guarded.post(f"/tasks/{task_id}/questions", body, 201, headers=bearer(token))
    path = f"/questions/{asked['id']}/answer"
    for wrong in ("three", '{"n": "3"}', {"n": 3, "__prefect_kind": "jinja"}):
        guarded.post(path, {"answer": wrong}, 422, headers=bearer(OPERATOR))
    done = guarded.post(path, {"answer": '{"n": 3}'}, 200, headers=bearer(OPERATOR))
    assert done["answer"] == {"n": 3}
    bad = {"question": "What?", "answer_schema": {"type": "string", "pattern": "(a+)+$"}}
    refused = guarded.post(f"/tasks/{task_id}/questions", bad, 422, headers=bearer(token))
    assert "may not have 'pattern'" in refused["detail"]


def test_a_persons_key_answers_questions_and_approves_nothing(guarded: Api) -> None:
    task_id = guarded.board.create_task("Todo", "Paint it").id
    run_id, token = guarded.start_run(task_id)
    ask = {"question": "Which colour?"}
    asked = guarded.post(f"/tasks/{task_id}/questions", ask, 201, headers=bearer(token))
    gate = Question(
        id="feedbeef00", run_id=UUID(run_id), task_id=task_id, text="May it start?",
        asked_at=datetime.now(UTC), choices=("yes", "no"), is_approval=True,
    )  # fmt: skip

    async def keep(client: PrefectClient) -> None:
        await questions.keep(PrefectRunStore.of(client), gate)
        await questions.list_it(PrefectRunStore.of(client), guarded.app.name, gate)

    guarded.with_prefect(keep)
    _, key = make(guarded, "steer")
    said = use(guarded, key, "answer_question", question_id=asked["id"], answer="red")
    assert said["answer"] == "red"
    assert "for-operators" in refused(
        guarded, key, "answer_question", question_id=gate.id, answer="yes"
    )
    (listed,) = [q for q in guarded.get("/questions", headers=bearer(OPERATOR)) if q["is_approval"]]
    assert (listed["id"], listed["state"]) == (gate.id, "pending")
    path = f"/tasks/{task_id}/approve"
    guarded.post(path, {}, 403, headers=bearer(token))
    other = {"question": "aaaaaaaaaa"}
    refusal = guarded.post(path, other, 409, headers=bearer(OPERATOR))
    assert "waits for another approval by now" in refusal["detail"]
    guarded.post(f"/tasks/{task_id}/reject", other, 409, headers=bearer(OPERATOR))
    assert guarded.post(path, {"by": "eve"}, 200, headers=bearer(OPERATOR))["answer"] == "yes"
