"""Webhooks have the queues polled that a person's change concerns, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from athanore import AgentDispatcher, GitWorkspace, MemoryAdapter
from athanore.runs.kept import pulls
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.secrets.environment import is_secret
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import PlankaDouble, planka_double
from athanore.testing.doubles.planka.state import Row
from tests.api.conftest import dispatcher
from tests.api.rig import Api, bearer, served
from tests.harness import prompt
from tests.repositories import Repository, git
from tests.support import wait_until

TOKEN = "secret-of-the-webhook"
PATH = "/webhooks/planka"


@pytest.fixture
def planka() -> Iterator[PlankaDouble]:
    with planka_double(lists=()) as server:
        server.add_board("P", "B", lists=("Todo", "In Progress", "Review", "Done"))
        yield server


@pytest.fixture
def hooked(
    planka: PlankaDouble, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Api]:
    """The API of an app on Planka, with webhooks."""
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", TOKEN)
    adapter = planka.board().create_adapter()
    app = AgentDispatcher(
        name="webhooks", queue_backend=adapter, command="true", poll_interval=timedelta(days=30)
    )
    for queue in ("P.B.Todo", "P.B.Review"):
        app.route(queue, in_progress_queue="P.B.In Progress")(prompt)
    with served(app, prefect_api) as api:
        yield api
    adapter.close()


def event(user: Row, item: Row) -> dict[str, Any]:
    return {"event": "cardCreate", "data": {"item": item}, "user": user}


def polls(api: Api) -> set[tuple[str, str]]:
    """The poll runs that webhooks made: when they are due, and of which queue."""
    runs = [r for r in api.prefect.runs(kind="poll") if r["name"] == "webhook poll"]
    for run in runs:  # what a worker in another process has read before is not to answer it
        due = datetime.fromisoformat(run["expected_start_time"])
        assert datetime.fromisoformat(run["parameters"]["newer_than"]) == due
    found = {(r["expected_start_time"], r["parameters"]["queue_name"]) for r in runs}
    assert len(found) == len(runs), "changes within a second have made two polls"
    return found


def test_a_persons_change_has_its_queue_polled(hooked: Api, planka: PlankaDouble) -> None:
    before = polls(hooked)
    body = event(planka.admin, planka.card("Todo", "x"))
    for _ in range(5):
        answer = hooked.post(PATH, body, 202, headers=bearer(TOKEN))
        assert answer == {"polled": ["P.B.Todo"], "looked": False}
    made = polls(hooked) - before
    assert {queue for _, queue in made} == {"P.B.Todo"}


def test_its_token_is_kept_from_agents_and_answers(hooked: Api) -> None:
    assert is_secret("ATHANORE_WEBHOOK_TOKEN")
    task_id = hooked.board.create_task("P.B.Done", f"see {TOKEN}").id
    assert hooked.get(f"/tasks/{task_id}")["name"] == "see [redacted]"


def test_our_own_changes_and_nonsense_poll_nothing(hooked: Api, planka: PlankaDouble) -> None:
    before = polls(hooked)
    task = hooked.board.create_task("P.B.Todo", "x")
    own = event(planka.bot, planka.state.tables["cards"][task.id])
    other = event(planka.admin, planka.card("Done", "x"))
    nothing: dict[str, object] = {"polled": [], "looked": False}
    for body in (own, other, {}, {"data": 1}):
        assert hooked.post(PATH, body, 202, headers=bearer(TOKEN)) == nothing
    hooked.post(PATH, [], 422, headers=bearer(TOKEN))
    assert polls(hooked) == before


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), {"Authorization": f"Basic {TOKEN}"}])
def test_a_foreign_caller_is_refused(
    hooked: Api, planka: PlankaDouble, headers: dict[str, str]
) -> None:
    before = polls(hooked)
    body = event(planka.admin, planka.card("Todo", "x"))
    hooked.post(PATH, body, 401, headers=headers)
    assert polls(hooked) == before


def test_a_board_that_does_not_answer_is_said_so(hooked: Api, planka: PlankaDouble) -> None:
    body = event(planka.admin, planka.card("Todo", "x"))
    planka.fail("GET", "/api/boards/", 502, times=9)
    problem = hooked.post(PATH, body, 503, headers=bearer(TOKEN))
    assert problem["type"] == "urn:athanore:problem:board-unavailable"


def test_without_a_token_webhooks_are_off(lonely: Api) -> None:
    problem = lonely.post(PATH, {}, 404, headers=bearer(TOKEN))
    assert problem["type"] == "urn:athanore:problem:webhooks-off"


def test_another_board_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", TOKEN)
    with served(dispatcher(tmp_path)) as api:
        problem = api.post(PATH, {}, 404, headers=bearer(TOKEN))
        assert problem["type"] == "urn:athanore:problem:no-webhooks"


def test_a_signed_delivery_of_github_has_its_queue_polled(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", TOKEN)
    with github_double() as github:
        adapter = github.board().create_adapter()
        app = AgentDispatcher(
            name="signed", queue_backend=adapter, command="true", poll_interval=timedelta(days=30)
        )
        app.route("Todo")(prompt)
        row = github.issue("a", "agent:Todo")
        body = json.dumps({"issue": row, "repository": {"full_name": github.repository}}).encode()
        digest = hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "issues",
            "X-Hub-Signature-256": f"sha256={digest}",
        }
        with served(app, prefect_api) as api:

            def send(**changed: str) -> httpx.Response:
                url = f"{api.url}/webhooks/github"
                return httpx.post(url, content=body, headers={**headers, **changed}, timeout=60)

            forged = send(**{"X-Hub-Signature-256": "sha256=00"})
            assert (forged.status_code, forged.json()["type"].split(":")[-1]) == (
                401,
                "signature-wrong",
            )
            assert "tasks are: '1' (a)." in api.get("/tasks/999", 404)["detail"]
            github.issue("b", "agent:Todo")
            first, again = send(), send()
            assert (first.status_code, first.json()) == (202, {"polled": ["Todo"], "looked": False})
            # What is shown of the board is not from before the change either.
            assert "tasks are: '1' (a), '2' (b)." in api.get("/tasks/999", 404)["detail"]
            assert (again.status_code, again.json()) == (202, {"polled": [], "looked": False})
            assert {queue for _, queue in polls(api)} == {"Todo"}
        adapter.close()


def test_a_signed_delivery_of_linear_has_its_queue_polled_and_people_may_write_identifiers(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", TOKEN)
    with linear_double() as linear:
        adapter = linear.board().create_adapter()
        app = AgentDispatcher(
            name="linear", queue_backend=adapter, command="true", poll_interval=timedelta(days=30)
        )
        app.route("Todo")(prompt)
        row = linear.issue("a", "Backlog")
        data = {"id": row["id"], "teamId": row["team"]["id"], "updatedAt": linear.state.time()}
        data["stateId"] = linear.state.state("Todo")["id"]
        headers, body = linear.delivery("Issue", data, TOKEN)
        with served(app, prefect_api) as api:
            url = f"{api.url}/webhooks/linear"
            headers["Content-Type"] = "application/json"
            sent = httpx.post(url, content=body, headers=headers, timeout=60)
            assert (sent.status_code, sent.json()) == (202, {"polled": ["Todo"], "looked": False})
            task = api.get("/tasks/ENG-1")
            assert (task["id"], task["name"]) == (row["id"], "ENG-1 a")
            api.post("/tasks/eng-1/comments", {"comment": "Seen."}, 201)
            assert linear.comments("ENG-1") == ["Seen."]
        adapter.close()


def test_a_delivery_about_a_pull_request_has_it_looked_at_at_once(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", TOKEN)
    with github_double() as github:
        repository = Repository(tmp_path / "toy.git")
        repository.push("main:refs/heads/athanore/1")
        repository.add("later.txt", "later")
        forge = github.forge(repository.path)
        board = MemoryAdapter(["Todo", "In Progress", "Done"])
        task = board.create_task("Done", "Fix it")
        app = AgentDispatcher(
            name="heard", queue_backend=board, command="true", poll_interval=timedelta(days=30),
            workspace=GitWorkspace(repository.path, root=tmp_path / "root", forge=forge),
        )  # fmt: skip
        app.route("Todo", publish="pull-request", reactions=["ci_failed"])(prompt)
        fields = {"title": "Fix it", "head": "athanore/1", "base": "main"}
        number = github.pulls.open("athanore-bot", fields)["number"]
        commit = git(repository.path, "rev-parse", "athanore/1")
        github.pulls.check(commit, "tests", "failure", "E assert 1 == 2")

        async def note() -> None:
            async with PrefectRunStore(prefect_api) as client:
                pull = OpenPull("heard", "Todo", task.id, number, "https://f.test/1", commit)
                await pulls.published(client, pull)

        asyncio.run(note())
        with served(app, prefect_api) as api:

            def send(event: str, about: dict[str, Any], secret: str = TOKEN) -> httpx.Response:
                named = {"repository": {"full_name": github.repository}}
                body = json.dumps(about | named).encode()
                digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
                headers = {
                    "Content-Type": "application/json",
                    "X-GitHub-Event": event,
                    "X-Hub-Signature-256": f"sha256={digest}",
                }
                url = f"{api.url}/webhooks/github"
                return httpx.post(url, content=body, headers=headers, timeout=60)

            suite: dict[str, Any] = {"status": "completed", "head_sha": commit}
            assert send("check_suite", {"check_suite": suite}, "wrong").status_code == 401
            other = {"check_suite": suite | {"head_sha": "1" * 40}}
            working = {"check_suite": suite | {"status": "in_progress"}}
            nothing: dict[str, Any] = {"polled": [], "looked": False}
            assert send("push", {}).json() == send("check_suite", working).json() == nothing
            assert send("check_suite", other).json() == {"polled": [], "looked": True}
            assert board.get_task(task.id).queue_name == "Done"
            answer = send("check_suite", {"check_suite": suite})
            assert (answer.status_code, answer.json()) == (202, {"polled": [], "looked": True})
            wait_until("it is put back", lambda: board.get_task(task.id).queue_name == "Todo")
            (comment,) = board.get_task(task.id).comments
            assert "CI failed: 'tests'. Back to 'Todo'" in comment.text
