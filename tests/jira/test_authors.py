"""Who of those that comment on an issue of Jira may answer there."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.jira.server import BOT, PERSON


@pytest.mark.parametrize("deployment", ["Cloud", "Server"])
@pytest.mark.parametrize(
    ("author", "kind", "text", "may"),
    [
        (PERSON, "atlassian", "/answer keep", True),
        (PERSON, "atlassian", "/answer delete", True),
        (PERSON, "atlassian", "I would keep it", False),
        (BOT, "atlassian", "/answer keep", False),
        ("Outsider", "atlassian", "/answer keep", False),
        ("Customer", "customer", "/answer keep", False),
        ("Script", "app", "/answer keep", False),
    ],
)
def test_whom_issues_may_be_assigned_to_is_vouched_for(
    jira: JiraDouble,
    deployment: Literal["Cloud", "Server"],
    author: str,
    kind: str,
    text: str,
    may: bool,
) -> None:
    if deployment == "Server" and kind != "atlassian":
        pytest.skip("a server has no such accounts")
    jira.start_anew("Todo", "In Progress", "Done", deployment=deployment)
    with jira.wire.lock:
        user: Any = jira.state.users.get(author) or jira.state.add_user(author)
        jira.state.add_user(f"{author} Two")
        if deployment == "Cloud":
            user["accountType"] = kind
        jira.state.outsiders.add("Outsider")
    row = jira.issue("Fix crash", "Todo")
    with jira.wire.lock:
        jira.state.add_comment(jira.state.issue(row["key"]), author, text)
    adapter = jira.board().create_adapter()
    try:
        assert adapter.vouches_for_authors
        assert adapter.get_task(row["key"]).comments[-1].author_may_write is may
    finally:
        adapter.close()
