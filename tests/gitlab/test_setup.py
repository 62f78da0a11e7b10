"""What a user writes and sets, and what is said when it is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from athanore import AgentDispatcher, GitLabBoard
from athanore.errors import ConfigurationError
from athanore.launch.inspection.doctor import board_finding
from athanore.launch.inspection.findings import Level
from athanore.queue_adapters.base import HasIdentity
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.gitlab.server import TOKEN
from tests.harness import prompt

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GitLabBoard("website", token="t"), "write group/project"),
        (lambda: GitLabBoard("https://gitlab.com/g/p", token="t"), "write group/project"),
        (lambda: GitLabBoard("g/p"), "needs a token.*ATHANORE_GITLAB_TOKEN or GITLAB_TOKEN"),
        (lambda: GitLabBoard("g/p", token="a b"), "has blanks"),
        (lambda: GitLabBoard("g/p", token="t", prefix=" "), "prefix"),
        (lambda: GitLabBoard("g/p", token="t", board="B", queues={"A": "a"}), "without queues="),
        (lambda: GitLabBoard("g/p", token="t", closes="Done"), r"must be a list.*\['Done'\]"),
        (lambda: GitLabBoard("g/p", token="t", url="gitlab"), "must be an address like"),
    ],
)
def test_a_mistake_in_the_code_is_told(make: Callable[[], GitLabBoard], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make().create_adapter()


def test_the_token_is_read_at_run_time_and_kept_from_agents(
    gitlab: GitLabDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = gitlab.board(token=None)
    monkeypatch.setenv("GITLAB_TOKEN", f"{TOKEN}\n")
    adapter = board.create_adapter()
    assert TOKEN not in repr(board) + repr(gitlab.board())
    assert adapter.get_ready_tasks([TODO]) == []
    assert adapter.secret_env == {"ATHANORE_GITLAB_TOKEN", "GITLAB_TOKEN"}
    assert adapter.secrets == {TOKEN}
    adapter.close()


def app_on(gitlab: GitLabDouble, **options: object) -> AgentDispatcher:
    app = AgentDispatcher(name="t", queue_backend=gitlab.board(**options), command="true")
    app.route(TODO, in_progress_queue=PROGRESS, done_queue=DONE)(prompt)
    return app


def test_doctor_walks_through_token_role_and_labels(gitlab: GitLabDouble) -> None:
    account = gitlab.revoke()
    finding = board_finding(app_on(gitlab))
    assert finding.level is Level.FAIL
    assert "refuses the token (Token was revoked" in finding.says
    account.scopes = frozenset({"read_api"})
    gitlab.grant(account)
    finding = board_finding(app_on(gitlab))
    assert finding.mend == ("Make a token with the scope api, which the present one does not have.")
    account.scopes, account.role = frozenset({"api"}), 10
    assert "has the role Guest in 'octo-group/website'" in board_finding(app_on(gitlab)).says
    account.role = 15
    gitlab.state.is_visible = False
    assert "cannot see the project" in board_finding(app_on(gitlab)).says
    gitlab.state.is_visible = True
    gitlab.state.has_issues = False
    assert "has no issues" in board_finding(app_on(gitlab)).says
    gitlab.state.has_issues = True
    assert board_finding(app_on(gitlab)).level is Level.OK
    gitlab.start_anew("bug", "agent::Todo")
    finding = board_finding(app_on(gitlab))
    assert finding.says == (
        "The project 'octo-group/website' has no labels 'agent::In Progress', 'agent::Done'"
    )
    assert "glab label create -n 'agent::In Progress' -R octo-group/website" in finding.mend


def test_queues_may_be_the_lists_of_a_board(gitlab: GitLabDouble) -> None:
    gitlab.start_anew("bug")
    gitlab.state.add_board("Development", ["Todo", "workflow::doing"])
    adapter = gitlab.board(board="development").create_adapter()
    gitlab.issue("a", "bug", "Todo")
    assert [queue.name for queue in adapter.list_queues()] == ["Todo", "workflow::doing"]
    (task,) = adapter.get_ready_tasks(["Todo"])
    assert task.labels == ("bug",)
    adapter.move_task(task.id, "workflow::doing")
    assert gitlab.labels(1) == ["bug", "workflow::doing"]
    with pytest.raises(ConfigurationError, match="no issue board called 'Other'"):
        gitlab.board(board="Other").create_adapter().prepare(["Todo"])
    adapter.close()


def test_scoped_labels_of_the_projects_own_may_be_queues(gitlab: GitLabDouble) -> None:
    gitlab.start_anew("status::ready", "status::doing")
    gitlab.state.tier = "premium"
    adapter = gitlab.board(prefix="status::").create_adapter()
    gitlab.issue("a", "status::ready")
    adapter.move_task("1", "doing")
    assert gitlab.labels(1) == ["status::doing"]
    adapter.close()


def test_a_project_is_the_same_board_by_its_name_and_by_its_number(gitlab: GitLabDouble) -> None:
    named = gitlab.board().create_adapter()
    other = GitLabBoard("4", token=TOKEN, url=gitlab.url).create_adapter()
    assert isinstance(named, HasIdentity)
    assert set(named.board_identity().marks) & set(other.board_identity().marks)
    named.close()
    other.close()
