"""Status, agents, routes, the guide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from athanore.api.page.files import STATIC
from tests.api.conftest import ODD, OPERATOR, dispatcher
from tests.api.rig import Api, bearer, served


def test_the_status(api: Api) -> None:
    task_id = api.board.create_task("Todo", "Fix it").id
    before = api.get("/status")
    run_id, _ = api.start_run(task_id)
    status = api.get("/status")
    assert status["healthy"]
    assert status["active_agents"] == before["active_agents"] + 1
    assert status["capacity"]["max_concurrent_agents"] == 3
    assert status["capacity"]["slots_free"] == max(0, 3 - status["active_agents"])
    assert status["timing"]["uptime"] > before["timing"]["uptime"]
    assert [r["queue_name"] for r in status["timing"]["routes"]] == ["Todo", "Review", ODD]
    assert all(r["next_poll"] > status["timing"]["started_at"] for r in status["timing"]["routes"])
    assert status["prefect"] == {
        "reachable": True,
        "ui_url": api.prefect_api.removesuffix("/api"),
    }
    assert status["app"] == api.app.name and status["version"]
    api.end_run(run_id)


def test_the_agents_at_work(api: Api) -> None:
    task_id = api.board.create_task("Todo", "Fix it").id
    problem = api.get(f"/agents/{task_id}", 404)
    assert task_id not in problem["existing"]
    run_id, _ = api.start_run(task_id)
    (agent,) = [a for a in api.get("/agents") if a["task_id"] == task_id]
    assert (agent["task_name"], agent["queue_name"]) == ("Fix it", "Todo")
    assert (agent["attempt"], agent["timeout"], agent["worker"]) == (1, 60, "host-1")
    assert agent["run_id"] == run_id and run_id in agent["run_url"]
    assert agent["runtime"] >= 0
    detail = api.get(f"/agents/{task_id}")
    assert detail["events"] == []
    assert detail | agent == detail | {"runtime": agent["runtime"]}
    api.end_run(run_id)
    assert task_id not in [a["task_id"] for a in api.get("/agents")]


def test_the_routes(lonely: Api) -> None:
    routes = lonely.get("/routes")
    assert [r["queue_name"] for r in routes] == ["Todo", "Review", ODD]
    route = lonely.get("/routes/Todo")
    assert route == routes[0]
    assert (route["timeout"], route["max_retries"], route["rank"]) == (60, 2, 1)
    assert (route["prompt"], route["source"]) == ("write_prompt", "code")
    assert "Todo" in lonely.get("/routes/Done", 404)["existing"]


def test_the_guide_tells_an_agent_who_it_is(guarded: Api) -> None:
    task_id = guarded.board.create_task("Todo", "Fix it").id
    run_id, token = guarded.start_run(task_id)
    response = guarded.http.get("/", headers=bearer(token))
    assert response.headers["content-type"].startswith("text/plain")
    assert f"at work on task '{task_id}'" in response.text
    assert f"{guarded.url}/tasks/{task_id}/comments" in response.text
    assert token not in response.text
    assert "operator" in guarded.http.get("/", headers=bearer(OPERATOR)).text
    guarded.end_run(run_id)


def test_the_guide_of_nobody_in_particular(lonely: Api) -> None:
    text = lonely.http.get("/").text
    assert '"' + lonely.url + '/tasks/$ATHANORE_TASK_ID/comments"' in text
    assert text.count("curl") == 8


def test_a_browser_gets_the_board_page_under_a_strict_policy(lonely: Api) -> None:
    response = lonely.http.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy and "//" not in policy
    page = response.text
    assert "<style" not in page and " style=" not in page and " onclick" not in page
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(files) == len(set(files)) + 1  # the first script is preloaded, too
    for path in files:
        answer = lonely.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "public, max-age=86400"
        assert re.findall(r"https?://(?!www.w3.org)", answer.text) == []
    assert "Finished already" not in page
    earlier = re.sub(r"/static/\w+/", "/static/earlier/", files[0])
    assert lonely.http.get(earlier).headers["cache-control"] == "no-cache"
    for path in ("..%2Fboard.html", "x/..%2Fboard.html", "x/..%2F..%2Fboard.html"):
        lonely.get(f"/static/{path}", 404)


@pytest.mark.parametrize("key", ["test", "function", "document"])
def test_a_key_that_is_a_word_of_the_page_breaks_none_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("ATHANORE_API_KEY", key)
    with served(dispatcher(tmp_path)) as api:
        for path in STATIC.glob("*.js"):
            assert api.http.get(f"/static/x/{path.name}").content == path.read_bytes()


def test_the_page_of_all_calls_loads_nothing_of_others(lonely: Api) -> None:
    response = lonely.http.get("/docs", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.text
    assert re.findall(r'(?:src|href)="(?!/|#)', page) == []
    assert "<script" not in page and "//" not in re.sub(r"</?\w.*?>", "", page)
    document = lonely.get("/openapi.json")
    for path, calls in document["paths"].items():
        for method in calls:
            assert f'<section id="{method.upper()}{path}">' in page
    linked = set(re.findall(r'href="#(\w+)"', page))
    assert linked <= set(re.findall(r'<section id="(\w+)">', page))
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        answer = lonely.http.get(path)
        assert answer.status_code == 200
        assert re.findall(r"https?://(?!www.w3.org)", answer.text) == []
