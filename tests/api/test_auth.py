"""Tokens: what they open, and that they die with their run."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from athanore import names
from athanore.api.prefect.link import PrefectLink
from athanore.api.problems import Problem
from athanore.api.security.auth import Gate
from athanore.errors import PrefectUnavailableError
from athanore.runs.records import tokens
from athanore.runs.records.record import RunRecord, Start
from athanore.runtime.apps import App
from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import NO_PREFECT, Api, bearer


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
    with (
        asyncio.Runner() as runner,
        guarded.app.local_runs.controlled(UUID(run_id), task_id) as handle,
    ):
        attempt = runner.get_loop().create_task(asyncio.Event().wait())
        work = runner.get_loop().create_task(handle.supervise(attempt))
        runner.run(asyncio.sleep(0))
        assert handle.at_work and not work.done()
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


def test_nobody_mints_a_token_in_an_open_prefect(guarded: Api) -> None:
    task_id = new_task(guarded)
    run_id, token = guarded.start_run(task_id)
    minted = f"ath_{run_id}_{'x' * 43}"
    label: dict[str, str | int | float | bool] = {
        "athanore.token.1": sha256(minted.encode()).hexdigest()
    }
    comment(guarded, task_id, 201, token)
    guarded.with_prefect(lambda client: client.update_flow_run_labels(UUID(run_id), label))
    assert "ATHANORE_API_KEY" in comment(guarded, task_id, 401, minted)["detail"]


def test_a_token_dies_at_once_where_the_worker_is(guarded: Api) -> None:
    task_id = new_task(guarded)
    run_id, token = guarded.start_run(task_id)
    comment(guarded, task_id, 201, token)
    guarded.app.local_runs.hold(UUID(run_id), "host-1")
    try:  # the worker has the run still, and no agent of it: Prefect has yet to be told
        comment(guarded, task_id, 409, token)
    finally:
        guarded.app.local_runs.forget(UUID(run_id))


class PrefectInPart:
    """A server on a real socket that answers every request with one run, while it is there."""

    def __init__(self, run: FlowRun) -> None:
        self._answer = run.model_dump_json().encode()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._tell, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api"

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(self._answer)}"
        writer.write(head.encode() + b"\r\n\r\n" + self._answer)
        await writer.drain()
        writer.close()


async def test_a_token_dies_at_once_while_prefect_is_away(tmp_path: Path) -> None:
    app = App("run.py:dispatcher", dispatcher(tmp_path))
    run, token = running_run(app.name, "7")
    over = asyncio.Event()
    with temporary_settings({PREFECT_API_URL: NO_PREFECT}):
        async with PrefectLink(app.margins.prefect, app.clock) as link:
            gate = Gate(app, link)
            app.local_runs.hold(run.id, "host-1")
            with app.local_runs.controlled(run.id, "7", run) as handle:
                attempt = asyncio.create_task(over.wait())
                work = asyncio.create_task(handle.supervise(attempt))
                await asyncio.sleep(0)
                assert handle.at_work
                assert (await gate.identify(token, write=True)).task_id == "7"
                over.set()
                await work
                with pytest.raises(Problem) as refused:
                    await gate.identify(token, write=True)
                assert refused.value.status == 409
            app.local_runs.forget(run.id)
            with pytest.raises(PrefectUnavailableError):
                await gate.identify(token, write=True)


async def test_elsewhere_a_token_counts_for_a_minute_while_prefect_is_away(tmp_path: Path) -> None:
    app = App("run.py:dispatcher", dispatcher(tmp_path))
    run, token = running_run(app.name, "7")
    prefect = PrefectInPart(run)
    async with prefect as url:
        with temporary_settings({PREFECT_API_URL: url}):
            async with PrefectLink(app.margins.prefect, app.clock) as link:
                passed = 0.0
                gate = Gate(app, link, lambda: passed)
                assert (await gate.identify(token, write=True)).task_id == "7"
                await prefect.__aexit__()
                assert (await gate.identify(token, write=True)).task_id == "7"
                passed = 60.0
                with pytest.raises(PrefectUnavailableError):
                    await gate.identify(token, write=True)


def running_run(app: str, task_id: str) -> tuple[FlowRun, str]:
    """A run at work, as Prefect tells it, and the token of its agent."""
    run_id = uuid4()
    token = tokens.new_token(run_id)
    proof = tokens.proof(token, 1, task_id, None)
    state = Running()
    start = Start(str(state.id), 1, "a process")
    run = FlowRun(
        id=run_id,
        flow_id=uuid4(),
        tags=[names.app_tag(app), names.task_tag(task_id)],
        labels=RunRecord().begun(start, 1, "", "", proof).dump(),
        run_count=1,
        state=state,
        state_type=StateType.RUNNING,
    )
    return run, token


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
