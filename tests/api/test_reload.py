"""Who may have the app's code taken over through the API."""

from __future__ import annotations

from athanore.errors import ConfigurationError
from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer


def test_an_open_api_takes_no_code_over(api: Api) -> None:
    answer = api.post("/reload", {}, 403)
    assert "an agent could have its own changes of the code taken over" in answer["detail"]


def test_only_operators_have_code_taken_over(guarded: Api) -> None:
    task = guarded.board.create_task("Todo", "At work").id
    _, token = guarded.start_run(task)
    guarded.post("/reload", {}, 403, headers=bearer(token))
    operator = bearer(OPERATOR)
    answer = guarded.post("/reload", {}, 409, headers=operator)
    assert "only serves the task API" in answer["detail"]

    async def broken() -> list[str]:
        raise ConfigurationError("run.py is not taken over: run.py, line 3: NameError.")

    async def fine() -> list[str]:
        return ["route 'Todo': max_retries 0 -> 2"]

    guarded.app.reload = broken
    assert "line 3" in guarded.post("/reload", {}, 409, headers=operator)["detail"]
    guarded.app.reload = fine
    done = guarded.post("/reload", {}, 200, headers=operator)
    assert done == {"version": guarded.app.version, "changes": ["route 'Todo': max_retries 0 -> 2"]}
