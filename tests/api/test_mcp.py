"""The task API over MCP: the same calls, under the same rules as every other endpoint."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import httpx2
import pytest
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import Api, bearer, served

AGENTS = {
    "get_task",
    "add_comment",
    "move_task",
    "update_task",
    "create_task",
    "list_queues",
    "report_progress",
    "ask_person",
}


def post(
    api: Api, method: str, params: Any, headers: dict[str, str], path: str = "/mcp"
) -> httpx.Response:
    """Send one message, as a client without a session does."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    accept = {"Accept": "application/json, text/event-stream"}
    return api.http.post(path, json=body, headers=accept | headers)


def listed(api: Api, token: str | None = None) -> dict[str, Any]:
    """The tools that a client is offered, by their names."""
    response = post(api, "tools/list", {}, bearer(token) if token else {})
    assert response.status_code == 200, response.text
    return {tool["name"]: tool for tool in response.json()["result"]["tools"]}


def answer(api: Api, token: str | None, tool: str, **arguments: Any) -> dict[str, Any]:
    """The result of a call of a tool."""
    call = {"name": tool, "arguments": arguments}
    response = post(api, "tools/call", call, bearer(token) if token else {})
    assert response.status_code == 200, response.text
    result = response.json()["result"]
    assert "structuredContent" not in result
    return result


def use(api: Api, token: str | None, tool: str, **arguments: Any) -> Any:
    """What a tool answers."""
    result = answer(api, token, tool, **arguments)
    assert not result["isError"], result
    return json.loads(result["content"][0]["text"])


def refused(api: Api, token: str | None, tool: str, **arguments: Any) -> str:
    """Why a tool refuses."""
    result = answer(api, token, tool, **arguments)
    assert result["isError"], result
    return result["content"][0]["text"]


def new_task(api: Api, name: str = "Fix it") -> str:
    return api.board.create_task("Todo", name).id


def test_an_agent_does_its_work_by_tools_that_know_its_task(guarded: Api) -> None:
    task_id = new_task(guarded)
    _, token = guarded.start_run(task_id)
    assert set(listed(guarded, token)) == AGENTS
    assert use(guarded, token, "get_task")["name"] == "Fix it"
    assert {q["name"] for q in use(guarded, token, "list_queues")} > {"Todo", "Done"}
    use(guarded, token, "add_comment", comment="It was the cache.")
    use(guarded, token, "update_task", labels=["bug"])
    use(guarded, token, "report_progress", percent=40, text="Running the tests")
    other = use(guarded, token, "create_task", queue_name="Done", name="Tidy up")
    moved = use(guarded, token, "move_task", target_queue="Done")
    assert moved == {
        "id": task_id,
        "name": "Fix it",
        "queue_name": "Done",
        "labels": ["bug"],
        "assignees": [],
    }
    task = guarded.board.get_task(task_id)
    assert ([c.text for c in task.comments], task.labels) == (["It was the cache."], ("bug",))
    assert guarded.board.get_task(other["id"]).name == "Tidy up"


def test_a_client_of_the_library_works(guarded: Api) -> None:
    task_id = new_task(guarded)
    _, token = guarded.start_run(task_id)

    async def main() -> str:
        async with (
            httpx2.AsyncClient(headers=bearer(token)) as http,
            streamable_http_client(f"{guarded.url}/mcp/", http_client=http) as streams,
            ClientSession(*streams[:2]) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            assert {tool.name for tool in tools.tools} == AGENTS
            result = await session.call_tool("get_task", {})
            content = result.content[0]
            assert isinstance(content, TextContent)
            return content.text

    assert json.loads(asyncio.run(main()))["id"] == task_id


def test_each_tool_says_what_it_does_to_whoever_asks_before_some_calls(lonely: Api) -> None:
    tools = listed(lonely)
    assert set(tools) == AGENTS | {"submit_result"}
    for name, tool in tools.items():
        hints = tool["annotations"]
        assert hints["readOnlyHint"] is (name in ("get_task", "list_queues"))
        assert hints["destructiveHint"] is hints["openWorldHint"] is False
        assert "idempotentHint" in hints and tool["description"]
        assert "outputSchema" not in tool
        assert "$ref" not in json.dumps(tool)  # not every client follows it
    assert len(json.dumps(list(tools.values()))) < 5600


def test_another_task_is_read_and_not_changed(guarded: Api) -> None:
    mine, other = new_task(guarded), new_task(guarded, "Another")
    _, token = guarded.start_run(mine)
    assert use(guarded, token, "get_task", task_id=other)["name"] == "Another"
    assert use(guarded, token, "get_task", task_id=int(other))["name"] == "Another"
    for tool, arguments in (
        ("add_comment", {"comment": "x"}),
        ("move_task", {"target_queue": "Done"}),
        ("update_task", {"name": "x"}),
        ("report_progress", {"percent": 1}),
    ):
        said = json.loads(refused(guarded, token, tool, task_id=other, **arguments))
        assert said["status"] == 403 and repr(mine) in said["detail"]
    assert guarded.board.get_task(other).comments == ()


def test_a_dead_attempt_changes_nothing_and_is_told_so(guarded: Api) -> None:
    task_id = new_task(guarded)
    run_id, token = guarded.start_run(task_id)
    use(guarded, token, "add_comment", comment="first")
    guarded.end_run(run_id)
    said = json.loads(refused(guarded, token, "add_comment", comment="second"))
    assert (said["status"], said["type"]) == (409, "urn:athanore:problem:run-ended")
    assert "Stop working" in said["detail"]
    assert len(guarded.board.get_task(task_id).comments) == 1


def test_a_call_with_the_same_key_is_done_once(api: Api) -> None:
    task_id = new_task(api)
    _, token = api.start_run(task_id)
    for _ in range(2):
        use(api, token, "add_comment", comment="Done.", idempotency_key="a")
        use(api, token, "create_task", queue_name="Done", name="More", idempotency_key="b")
    assert len(api.board.get_task(task_id).comments) == 1
    assert api.board.get_queue("Done").task_count == 2
    said = refused(api, token, "add_comment", comment="Other words.", idempotency_key="a")
    assert json.loads(said)["status"] == 409
    # The same key means the same over HTTP.
    headers = bearer(token) | {"Idempotency-Key": "a"}
    api.post(f"/tasks/{task_id}/comments", {"comment": "Done."}, 201, headers=headers)
    assert len(api.board.get_task(task_id).comments) == 1


def test_a_secret_neither_comes_in_nor_goes_out(guarded: Api) -> None:
    task_id = new_task(guarded, f"the key is {OPERATOR}")
    _, token = guarded.start_run(task_id)
    assert use(guarded, token, "get_task")["name"] == "the key is [redacted]"
    use(guarded, token, "add_comment", comment=f"mine is {token}")
    assert guarded.board.get_task(task_id).comments[0].text == "mine is [redacted]"
    assert OPERATOR not in refused(guarded, token, "move_task", target_queue=OPERATOR)


def test_who_shows_no_token_or_an_unknown_one_is_refused(guarded: Api) -> None:
    for headers in ({}, bearer("wrong"), bearer(f"ath_{'x' * 80}")):
        for method, params in (("tools/list", {}), ("tools/call", {"name": "list_queues"})):
            response = post(guarded, method, params, headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.json()["type"].startswith("urn:athanore:problem:token-")


def test_the_operators_key_is_refused_with_a_sentence(guarded: Api) -> None:
    response = post(guarded, "tools/list", {}, bearer(OPERATOR))
    assert response.status_code == 403
    assert "does not belong into the configuration" in response.json()["detail"]


def test_the_guard_is_before_it(lonely: Api) -> None:
    for headers, kind in (
        ({"Host": "evil.example"}, "foreign-host"),
        ({"Origin": "http://evil.example"}, "foreign-origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign-origin"),
        ({"Content-Type": "text/plain"}, "not-json"),
    ):
        for path in ("/mcp", "/mcp/"):
            response = post(lonely, "tools/list", {}, headers, path)
            assert response.json()["type"] == f"urn:athanore:problem:{kind}"
    assert post(lonely, "tools/list", {}, {}).headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_refused(lonely: Api) -> None:
    arguments = {"queue_name": "Done", "name": "x", "description": "x" * 2**20}
    response = post(lonely, "tools/call", {"name": "create_task", "arguments": arguments}, {})
    assert response.status_code == 413
    assert lonely.board.get_queue("Done").task_count == 1


def test_what_is_no_call_is_answered_and_does_nothing(lonely: Api) -> None:
    accept = {"Accept": "application/json", "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b"[" * 5000, b'{"method": 7}', b'"x"', b"\xff"):
        response = lonely.http.post("/mcp", content=body, headers=accept)
        assert response.status_code < 500, body
    for method in ("GET", "DELETE", "PUT"):
        assert lonely.http.request(method, "/mcp").status_code == 405
    batch = [
        {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}
        for n, params in enumerate(
            [{"name": "create_task", "arguments": {"queue_name": "Done", "name": "x"}}] * 2
        )
    ]
    assert lonely.http.post("/mcp", json=batch, headers=accept).status_code < 500
    assert lonely.board.get_queue("Done").task_count == 1


def test_what_is_wrong_with_the_arguments_is_said(lonely: Api) -> None:
    assert "task_id" in refused(lonely, None, "get_task")
    assert "comment: Field required" in refused(lonely, None, "add_comment", task_id="1")
    assert "Extra inputs" in refused(lonely, None, "list_queues", color="red")
    assert "get_task" in refused(lonely, None, "delete_everything")
    said = json.loads(refused(lonely, None, "create_task", queue_name="Tod", name="x"))
    assert said["status"] == 404 and "Did you mean 'Todo'?" in said["detail"]
    assert "something" not in refused(lonely, None, "create_task", queue_name="Todo", name=" ")


def test_a_call_is_a_sign_of_life(api: Api) -> None:
    task_id = new_task(api)
    run_id, token = api.start_run(task_id)
    signs: list[str] = []
    with (
        asyncio.Runner() as runner,
        api.app.local_runs.controlled(UUID(run_id), task_id) as handle,
    ):
        attempt = runner.get_loop().create_task(asyncio.Event().wait())
        work = runner.get_loop().create_task(handle.supervise(attempt))
        runner.run(asyncio.sleep(0))
        handle.on_activity = lambda: signs.append("heard")
        use(api, token, "get_task")
        assert signs and not work.done()


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with served(dispatcher(tmp_path)) as api:
        problem = api.post("/mcp", {}, 501)
        assert 'pip install "./athanore[mcp]"' in problem["detail"]
        api.get("/queues")
