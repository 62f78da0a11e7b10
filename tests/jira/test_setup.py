"""What a user writes and sets, and what is said when it is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from athanore import AgentDispatcher, JiraBoard
from athanore.errors import ConfigurationError
from athanore.launch.inspection.doctor import board_finding
from athanore.launch.inspection.findings import Level
from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.jira.server import EMAIL, TOKEN
from tests.harness import prompt

SITE = "https://example.atlassian.net"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: JiraBoard(SITE, "1"), "no key of a project"),
        (lambda: JiraBoard("jira", "ENG", token="t"), "must be an address like"),
        (lambda: JiraBoard(SITE, "ENG"), "needs a token.*ATHANORE_JIRA_TOKEN"),
        (lambda: JiraBoard(SITE, "ENG", token="a b"), "has blanks"),
        (
            lambda: JiraBoard(SITE, "ENG", token="t", via={"A": "A"}),
            "'A' as the queue on the way to itself",
        ),
    ],
)
def test_a_mistake_in_the_code_is_told(make: Callable[[], JiraBoard], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make().create_adapter()


def app_on(jira: JiraDouble, **options: object) -> AgentDispatcher:
    app = AgentDispatcher(name="t", queue_backend=jira.board(**options), command="true")
    app.route("Todo", in_progress_queue="In Progress", done_queue="Done")(prompt)
    return app


def test_the_token_is_read_at_run_time_and_kept_from_agents(
    jira: JiraDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = jira.board(token=None, email=None)
    monkeypatch.setenv("JIRA_API_TOKEN", f"{TOKEN}\n")
    monkeypatch.setenv("JIRA_EMAIL", EMAIL)
    adapter = board.create_adapter()
    assert TOKEN not in repr(board) + repr(jira.board())
    assert adapter.get_ready_tasks(["Todo"]) == []
    assert adapter.secret_env == {"ATHANORE_JIRA_TOKEN", "JIRA_API_TOKEN"}
    adapter.close()


def test_doctor_walks_through_token_permissions_and_statuses(jira: JiraDouble) -> None:
    assert board_finding(app_on(jira)).level is Level.OK
    account = jira.revoke()
    finding = board_finding(app_on(jira))
    assert "refuses the token" in finding.says
    account.lacks = frozenset({"TRANSITION_ISSUES", "ADD_COMMENTS"})
    jira.grant(account)
    finding = board_finding(app_on(jira))
    assert "in the project 'ENG': TRANSITION_ISSUES, ADD_COMMENTS" in finding.says
    account.lacks = frozenset()
    jira.start_anew("Todo", "Done")
    finding = board_finding(app_on(jira))
    assert finding.says.startswith("The project 'ENG' has no status 'In Progress'")


def test_data_center_takes_a_personal_access_token(jira: JiraDouble) -> None:
    jira.start_anew("Todo", "In Progress", "Done", deployment="Server")
    assert board_finding(app_on(jira)).level is Level.OK
    finding = board_finding(app_on(jira, email=EMAIL))
    assert finding.level is Level.FAIL
