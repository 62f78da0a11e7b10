"""Who of those that comment on an issue of GitLab may answer there."""

from __future__ import annotations

import pytest

from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.gitlab.server import BOT, PERSON

BOT_OF_A_PROJECT = "project_4_bot_0f"


def vouched(gitlab: GitLabDouble, adapter: GitLabAdapter, author: str, text: str) -> bool:
    row = gitlab.issue("Fix crash", "Todo")
    with gitlab.wire.lock:
        if author not in gitlab.state.users:
            gitlab.state.add_user(author)
        gitlab.state.add_note(gitlab.state.issue(row["iid"]), author, text)
    return adapter.get_task(str(row["iid"])).comments[-1].author_may_write


@pytest.mark.parametrize(
    ("author", "role", "may"),
    [
        ("planner", 15, True),
        ("owner", 50, True),
        ("guest", 10, False),
        ("nobody", None, False),
        (BOT, 40, False),
        (BOT_OF_A_PROJECT, 40, False),
    ],
)
def test_who_may_label_issues_is_vouched_for(
    gitlab: GitLabDouble, adapter: GitLabAdapter, author: str, role: int | None, may: bool
) -> None:
    assert adapter.vouches_for_authors
    if role is not None:
        gitlab.merges.roles[author] = role
        with gitlab.wire.lock:
            if author not in gitlab.state.users:
                gitlab.state.add_user(author)
    assert vouched(gitlab, adapter, author, "/answer keep") is may


def test_nobody_is_asked_about_who_says_something_else(
    gitlab: GitLabDouble, adapter: GitLabAdapter
) -> None:
    assert not vouched(gitlab, adapter, PERSON, "I would keep it. /answer keep")
    assert not any("members" in line for line in gitlab.log)
    assert vouched(gitlab, adapter, PERSON, "/answer keep")
    assert vouched(gitlab, adapter, PERSON, "/answer delete")
    assert sum("members" in line for line in gitlab.log) == 1, "a role is kept for a while"


def test_of_whom_gitlab_says_nothing_now_nobody_vouches(
    gitlab: GitLabDouble, adapter: GitLabAdapter
) -> None:
    gitlab.fail("GET", "/members/all/", 500, times=1)
    assert not vouched(gitlab, adapter, PERSON, "/answer keep")
    assert vouched(gitlab, adapter, PERSON, "/answer keep")
