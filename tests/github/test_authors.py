"""The account of the board's token answers nothing on GitHub: agents comment by it."""

from __future__ import annotations

import pytest

from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.server import BOT, PERSON


@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize(("author", "may"), [(PERSON, True), (BOT, False)])
def test_the_tokens_own_account_is_not_vouched_for(
    github: GitHubDouble, assign: bool, author: str, may: bool
) -> None:
    row = github.issue("Fix crash", "agent:Todo")
    with github.wire.lock:
        github.state.add_comment(github.state.issue(row["number"]), author, "/answer keep")
    adapter = github.board(assign=assign).create_adapter()
    try:
        assert adapter.get_task(str(row["number"])).comments[-1].author_may_write is may
    finally:
        adapter.close()
