"""Every example does what its README says."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from athanore import ScriptedAgent
from athanore.dispatcher import AgentDispatcher
from athanore.queue_adapters.base import QueueAdapter, SupportsPrepare
from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.queue_adapters.sql import SqlBoard
from athanore.runtime import apps
from athanore.testing import QueueAdapterContract
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.gitlab.server import TOKEN as GITLAB_TOKEN
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.jira.server import EMAIL
from athanore.testing.doubles.jira.server import TOKEN as JIRA_TOKEN
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.linear.server import STATES
from athanore.testing.doubles.linear.server import TOKEN as LINEAR_KEY
from athanore.testing.doubles.planka.server import BOT_KEY, planka_double
from examples.custom_adapter.sqlite_adapter import SqliteAdapter
from examples.issue_to_pull_request.offline import make_repository
from tests.harness import app_name, running

ROOT = Path(__file__).parents[2]


class TestSqliteAdapter(QueueAdapterContract):
    """The example of a custom adapter keeps the contract."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> QueueAdapter:
        board = SqliteAdapter(tmp_path / "board.sqlite3", user="linus")
        board.prepare(["Todo", "In Progress", "Done"])
        return board


def load(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AgentDispatcher:
    """Load a copy of an example, with a name and a port of its own."""
    shutil.copytree(ROOT / "examples" / example, folder / example)
    monkeypatch.setenv("ATHANORE_API_PORT", "0")
    monkeypatch.setattr(sys, "path", [*sys.path])
    dispatcher = apps.load(f"{folder / example / 'run.py'}:dispatcher")
    dispatcher.name = app_name("example")
    return dispatcher


def run_all(
    dispatcher: AgentDispatcher, prefect_api: str, tasks: Sequence[str], done: str = "Done"
) -> dict[str, list[str]]:
    """Run an app until these tasks are done and their runs completed; return their comments."""
    with running(dispatcher, prefect_api) as it:
        for task_id in tasks:
            it.in_queue(task_id, done)
            assert it.prefect.ended(task_id)["state_type"] == "COMPLETED"
        return {task_id: it.comments(task_id) for task_id in tasks}


def test_json_and_shell(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = load("json_shell", tmp_path, monkeypatch)
    comments = run_all(dispatcher, prefect_api, ["1", "2"])
    assert set(map(tuple, comments.values())) == {("Said hello, from a shell.",)}


def test_three_stages(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = load("three_stages", tmp_path, monkeypatch)
    expected = [f"The {role} has finished." for role in ("designer", "builder", "reviewer")]
    assert run_all(dispatcher, prefect_api, ["1", "2"]) == {"1": expected, "2": expected}


def test_review_verdict(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = load("review_verdict", tmp_path, monkeypatch)
    with running(dispatcher, prefect_api) as it:
        it.in_queue("1", "Done")
        comments = [text.partition(":")[0] for text in it.comments("1")]
        rejected = it.comments("1")[1]
    assert comments == ["Built.", "Result", "Built, with a test.", "Result"]
    assert "There is no test." in rejected


@pytest.mark.nightly
def test_custom_adapter(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = load("custom_adapter", tmp_path, monkeypatch)
    board = dispatcher.board
    assert isinstance(board, SupportsPrepare)
    board.prepare(dispatcher.queue_names())
    task = board.create_task("Todo", "Try it")
    assert run_all(dispatcher, prefect_api, [task.id]) == {task.id: []}
    assert board.get_task(task.id).assignees == ("sqlite",)


def test_sql(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOARD_URL", raising=False)
    dispatcher = load("sql", tmp_path, monkeypatch)
    board = dispatcher.board
    assert isinstance(board, SqlBoard)
    board.prepare(dispatcher.queue_names())
    task = board.create_task("Todo", "Try it")
    comments = run_all(dispatcher, prefect_api, [task.id])
    assert comments == {task.id: ["Said hello, from a shell."]}
    board.close()


def test_github(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Review", "Done", "Failed")]
    with github_double("octo-org/website", labels) as github:
        monkeypatch.setenv("GITHUB_SERVER_URL", github.url)
        monkeypatch.setenv("ATHANORE_GITHUB_TOKEN", TOKEN)
        dispatcher = load("github", tmp_path, monkeypatch)
        number = github.issue("Fix crash", "bug", "agent:Todo")["number"]
        comments = run_all(dispatcher, prefect_api, [str(number)], "Review")
        assert comments == {str(number): ["Said hello, from a shell."]}
        assert github.labels(number) == ["bug", "agent:Review"]
        dispatcher.board.move_task(str(number), "Done")
        assert github.state.issue(number)["state"] == "closed"


@pytest.mark.nightly
def test_github_project(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with github_double("octo-org/website", (), project=("octo-org", 1)) as github:
        github.project.start_anew(["Todo", "In Progress", "Review", "Done", "Failed"])
        monkeypatch.setenv("GITHUB_SERVER_URL", github.url)
        monkeypatch.setenv("ATHANORE_GITHUB_TOKEN", TOKEN)
        dispatcher = load("github_project", tmp_path, monkeypatch)
        row = github.issue("Fix crash")
        github.project.add(row, "Todo")
        comments = run_all(dispatcher, prefect_api, ["website-1"], "Review")
        assert comments == {"website-1": ["Said hello, from a shell."]}
        assert github.project.column(row) == "Review"
        dispatcher.board.move_task("website-1", "Done")
        assert (github.project.column(row), row["state"]) == ("Done", "closed")
        assert github.wire.violations == []


def test_issue_to_pull_request(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Review", "Failed")]
    remote = tmp_path / "website.git"
    make_repository(remote)
    with github_double("octo-org/website", labels) as github:
        github.forge(remote)
        monkeypatch.setenv("GITHUB_URL", github.url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        monkeypatch.setenv("REMOTE", str(remote))
        dispatcher = load("issue_to_pull_request", tmp_path, monkeypatch)
        number = github.issue("Say hello", "agent:Todo")["number"]
        comments = run_all(dispatcher, prefect_api, [str(number)], "Review")
        (pull,) = github.pulls.listed("open", "")
        assert comments[str(number)][-1].startswith(f"Published: {pull['html_url']} ")
        assert pull["head"]["sha"] == github.pulls.commit("athanore/1-say-hello")


@pytest.mark.nightly
def test_gitlab(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"agent::{queue}" for queue in ("Todo", "In Progress", "Review", "Done", "Failed")]
    with gitlab_double("octo-group/website", labels) as gitlab:
        monkeypatch.setenv("GITLAB_URL", gitlab.url)
        monkeypatch.setenv("ATHANORE_GITLAB_TOKEN", GITLAB_TOKEN)
        dispatcher = load("gitlab", tmp_path, monkeypatch)
        iid = gitlab.issue("Fix crash", "bug", "agent::Todo")["iid"]
        comments = run_all(dispatcher, prefect_api, [str(iid)], "Review")
        assert comments == {str(iid): ["Said hello, from a shell."]}
        assert gitlab.labels(iid) == ["agent::Review", "bug"]
        dispatcher.board.move_task(str(iid), "Done")
        assert gitlab.state.issue(iid)["state"] == "closed"


@pytest.mark.nightly
def test_linear(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with linear_double("ENG", {**STATES, "Failed": "started"}) as linear:
        monkeypatch.setenv("LINEAR_URL", f"{linear.url}/graphql")
        monkeypatch.setenv("ATHANORE_LINEAR_API_KEY", LINEAR_KEY)
        dispatcher = load("linear", tmp_path, monkeypatch)
        task_id = linear.issue("Fix crash")["id"]
        comments = run_all(dispatcher, prefect_api, [task_id], "In Review")
        assert comments == {task_id: ["Said hello, from a shell."]}
        assert linear.wire.violations == []


def test_jira(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with jira_double("ENG", ("Todo", "In Progress", "Review", "Failed", "Done")) as jira:
        monkeypatch.setenv("JIRA_URL", jira.url)
        monkeypatch.setenv("ATHANORE_JIRA_EMAIL", EMAIL)
        monkeypatch.setenv("ATHANORE_JIRA_TOKEN", JIRA_TOKEN)
        dispatcher = load("jira", tmp_path, monkeypatch)
        key = jira.issue("Fix crash", "Todo", "bug")["key"]
        comments = run_all(dispatcher, prefect_api, [key], "Review")
        assert comments == {key: ["Said hello, from a shell."]}
        assert jira.status(key) == "Review"


def test_planka_and_claude(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = ScriptedAgent()
    claude = "athanore.agent_adapters.claude.adapter"
    if not any(_installed(sdk) for sdk in ("claude_agent_sdk", "claude_code_sdk")):
        stand_in = ModuleType(claude)
        vars(stand_in)["ClaudeAgentAdapter"] = lambda **_: agent  # pyright: ignore[reportUnknownLambdaType]
        monkeypatch.setitem(sys.modules, claude, stand_in)
    with planka_double(lists=()) as server:
        server.add_board("Website", "Work", ("Todo", "In Progress", "Done", "Failed"))
        card = server.card("Todo", "Make it blue")
        monkeypatch.setenv("PLANKA_URL", server.url)
        monkeypatch.setenv("PLANKA_TOKEN", BOT_KEY)
        dispatcher = load("planka_claude", tmp_path, monkeypatch)
        assert list(dispatcher.routes) == ["Website.Work.Todo"]
        dispatcher.default_agent = agent
        assert run_all(dispatcher, prefect_api, [card["id"]], "Website.Work.Done") == {
            card["id"]: []
        }
        board = dispatcher.board
        assert isinstance(board, PlankaAdapter)
        assert board.get_task(card["id"]).assignees == ("Robot",)
        board.close()
    (job,) = agent.jobs
    assert f"task {card['id']}: Make it blue" in job.prompt
    assert "PLANKA_TOKEN" in os.environ and "PLANKA_TOKEN" not in job.env


def _installed(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True
