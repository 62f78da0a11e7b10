"""What a user writes and sets, and what is said when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from athanore import AgentDispatcher
from athanore.errors import (
    BoardAccessError,
    ConfigurationError,
    InvalidTaskError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
)
from athanore.launch.inspection.checks import check_queues
from athanore.launch.inspection.doctor import board_finding
from athanore.launch.inspection.findings import Level
from athanore.queue_adapters.github import GitHubBoard
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.backend import api_of
from athanore.runtime.secrets.environment import agent_environment, secret_variables
from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.server import TOKEN
from tests.harness import prompt

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"


@pytest.mark.parametrize(
    ("site", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://github.example.com", "https://github.example.com/api/v3"),
        ("https://github.example.com/api/v3", "https://github.example.com/api/v3"),
        ("https://octocorp.ghe.com", "https://api.octocorp.ghe.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3"),
    ],
)
def test_where_the_api_of_a_site_is(site: str, api: str) -> None:
    assert api_of(site) == api


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GitHubBoard("website", token="t"), "write owner/name"),
        (lambda: GitHubBoard("https://github.com/o/r", token="t"), "write owner/name"),
        (lambda: GitHubBoard("o/r"), "needs a token.*ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN"),
        (lambda: GitHubBoard("o/r", token="a b"), "has blanks"),
        (lambda: GitHubBoard("o/r", token="t", prefix=" "), "prefix"),
        (lambda: GitHubBoard("o/r", token="t", queues={}), "a label of its own"),
        (
            lambda: GitHubBoard("o/r", token="t", queues={"A": "x", "B": "X"}),
            "a label of its own",
        ),
        (lambda: GitHubBoard("o/r", token="t", closes="Done"), r"must be a list.*\['Done'\]"),
        (lambda: GitHubBoard("o/r", token="t", url="github"), "must be an address like"),
    ],
)
def test_a_mistake_in_the_code_is_told(make: Callable[[], GitHubBoard], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make().create_adapter()


def test_the_token_is_read_at_run_time_and_kept_from_agents(
    github: GitHubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = github.board(token=None)
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\n")
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    adapter = board.create_adapter()
    assert TOKEN not in repr(board) + repr(github.board())
    assert adapter.get_ready_tasks([TODO]) == []
    assert adapter.secret_env == {"ATHANORE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"}
    assert adapter.secrets == {TOKEN}
    adapter.close()


def test_the_token_may_stand_in_a_file(
    github: GitHubDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f'ATHANORE_GITHUB_TOKEN="{TOKEN}"\nGITHUB_TOKEN=other\n')
    adapter = github.board(token=None).create_adapter()
    assert adapter.get_ready_tasks([TODO]) == []
    adapter.close()


def test_agents_may_have_a_token_of_their_own(
    github: GitHubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", "of the agents")
    adapter = github.board(token=None).create_adapter()
    github.issue("a", "agent:Todo")
    (task,) = adapter.get_ready_tasks([TODO])
    app = AgentDispatcher(name="own", queue_backend=adapter, command="true")
    app.route(TODO, done_queue=DONE)(prompt)
    env = agent_environment(
        app.routes[TODO], task, attempt=1, api_url="", secrets=secret_variables(app)
    )
    assert env["GITHUB_TOKEN"] == "of the agents"
    assert TOKEN not in env.values()
    adapter.close()


def app_on(github: GitHubDouble, **options: object) -> AgentDispatcher:
    app = AgentDispatcher(name="t", queue_backend=github.board(**options), command="true")
    app.route(TODO, in_progress_queue=PROGRESS, done_queue=DONE)(prompt)
    return app


def test_doctor_accepts_a_board_and_changes_nothing(github: GitHubDouble) -> None:
    github.issue("a", "agent:Todo")
    finding = board_finding(app_on(github))
    says, _, quota = finding.says.partition("; ")
    assert (finding.level, says) == (Level.OK, "GitHubAdapter: 3 queues, 1 tasks")
    assert re.fullmatch(r"left to ask: \d+ of 5000 \(core\) until \d\d:\d\d", quota)
    assert list(github.state.issues) == [1]
    assert len(github.state.labels) == 3


def test_doctor_says_how_to_make_missing_labels(github: GitHubDouble) -> None:
    github.start_anew("bug", "agent:Todo")
    finding = board_finding(app_on(github))
    assert finding.level is Level.FAIL
    assert finding.says == (
        "The repository 'octo-org/website' has no labels 'agent:In Progress', 'agent:Done'"
    )
    assert f"{github.url}/octo-org/website/labels" in finding.mend
    assert "gh label create 'agent:In Progress' -R 127.0.0.1/octo-org/website" in finding.mend


def test_doctor_walks_through_the_token(github: GitHubDouble) -> None:
    account = github.revoke()
    finding = board_finding(app_on(github))
    assert finding.level is Level.FAIL
    assert "refuses the token (Bad credentials)" in finding.says
    assert finding.mend.startswith("Make a new one")
    account.may_write = False
    github.grant(account)
    finding = board_finding(app_on(github))
    assert "does not allow POST" in finding.says
    assert finding.mend == "Give the token the permission issues: write for the repository."
    account.may_write = True
    github.state.is_visible = False
    finding = board_finding(app_on(github))
    assert "cannot see the issues of 'octo-org/website'" in finding.says
    assert finding.mend.startswith("Check the name")


def test_labels_may_be_written_in_another_case(github: GitHubDouble) -> None:
    github.start_anew("Agent: todo", "AGENT:IN PROGRESS", "agent:done")
    number = github.issue("a", "agent: TODO")["number"]
    app = app_on(github)
    assert board_finding(app).level is Level.OK
    assert [queue.name for queue in check_queues(app)] == [TODO, PROGRESS, DONE]
    assert [task.queue_name for task in app.board.get_ready_tasks([TODO])] == [TODO]
    app.board.move_task(str(number), DONE)
    assert github.labels(number) == ["agent:done"]


def test_queues_may_be_labels_that_a_repository_has(github: GitHubDouble) -> None:
    github.start_anew("bug", "status: ready", "wip", "shipped", "agent:Todo")
    queues = {TODO: "status: Ready", PROGRESS: "WIP", DONE: "shipped"}
    adapter = github.board(queues=queues).create_adapter()
    number = github.issue("a", "bug", "status: ready", "agent:Todo")["number"]
    assert [queue.name for queue in adapter.list_queues()] == [TODO, PROGRESS, DONE]
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.labels == ("bug", "agent:Todo")
    adapter.move_task(task.id, DONE)
    assert github.labels(number) == ["bug", "agent:Todo", "shipped"]
    with pytest.raises(InvalidTaskError, match="queues= of GitHubBoard"):
        adapter.create_queue("Review")
    adapter.close()


@pytest.mark.parametrize("name", ["a,b", "n" * 60, " x", "two\nlines"])
def test_a_queue_that_no_label_can_be_is_refused(adapter: GitHubAdapter, name: str) -> None:
    with pytest.raises(InvalidTaskError):
        adapter.create_queue(name)


def test_a_queue_is_not_deleted_under_closed_issues(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    row = github.issue("a", "agent:Done")
    github.state.set_fields(row, {"state": "closed"})
    with pytest.raises(QueueNotEmptyError):
        adapter.delete_queue(DONE)
    with pytest.raises(QueueExistsError):
        adapter.create_queue("DONE")
    with pytest.raises(QueueNotFoundError, match="'Todo'"):
        adapter.get_ready_tasks(["Nowhere"])


def test_a_label_that_is_made_meanwhile_is_found_at_once(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    adapter.list_queues()
    github.state.add_label("agent:Review")
    assert adapter.get_ready_tasks(["Review"]) == []


def test_a_token_without_an_account_assigns_nobody(github: GitHubDouble) -> None:
    github.state.accounts[TOKEN].is_installation = True
    adapter = github.board().create_adapter()
    adapter.prepare([TODO])
    assert adapter.user is None
    assert github.board(assign=False).create_adapter().user is None
    with pytest.raises(BoardAccessError):
        github.revoke()
        github.board().create_adapter().prepare([TODO])
    adapter.close()
