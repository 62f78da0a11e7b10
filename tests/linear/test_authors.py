"""Who of those that comment on an issue of Linear may answer there."""

from __future__ import annotations

from typing import Any

import pytest

from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.testing.doubles.linear import LinearDouble
from athanore.testing.doubles.linear.server import BOT, PERSON


@pytest.mark.parametrize(
    ("author", "of_the_user", "of_the_comment", "may"),
    [
        (PERSON, {}, {}, True),
        (PERSON, {"active": False}, {}, False),
        (PERSON, {"app": True}, {}, False),
        (PERSON, {}, {"botActor": {"name": "GitHub"}}, False),
        (PERSON, {}, {"user": None, "externalUser": {"name": "Eve of Slack"}}, False),
        (BOT, {}, {}, False),
    ],
)
def test_people_of_the_workspace_are_vouched_for(
    linear: LinearDouble,
    adapter: LinearAdapter,
    author: str,
    of_the_user: dict[str, Any],
    of_the_comment: dict[str, Any],
    may: bool,
) -> None:
    row = linear.issue("Fix crash")
    with linear.wire.lock:
        user = linear.state.user(author)
        user.update(of_the_user)
        values = {"issueId": row["id"], "body": "/answer keep"}
        linear.state.add_comment(values, user).update(of_the_comment)
    assert adapter.vouches_for_authors
    assert adapter.get_task(row["id"]).comments[-1].author_may_write is may
