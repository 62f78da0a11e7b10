"""The queue adapters' contract on GitLab: on the double, Free and Premium, and on a real project.

A real one needs ATHANORE_TEST_GITLAB_TOKEN and ATHANORE_TEST_GITLAB_PROJECT (`group/project`), a
project for nothing else, and ATHANORE_TEST_GITLAB_URL if it is not on gitlab.com: its labels that
begin with `test::` are deleted, and its issues with them closed. ATHANORE_TEST_GITLAB_ASSIGNEES
names two members of it. GitLab.com takes 60 notes a minute, so that the suite waits now and then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from athanore.errors import BoardUnavailableError
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.gitlab import GitLabBoard
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.testing.doubles.gitlab import GitLabDouble, gitlab_double
from athanore.testing.doubles.gitlab.server import BOT, PERSON
from athanore.testing.queue_contract import QueueAdapterContract

QUEUES = ("Todo", "In Progress", "Done")


class GitLabContract(QueueAdapterContract):
    """What GitLab can take."""

    labels = ("bug", "urgent")
    missing_id = "999999"
    long_name = "n" * 255
    labels_ordered = False
    queues_ordered = False


@pytest.fixture(scope="module")
def gitlab() -> Iterator[GitLabDouble]:
    with gitlab_double() as gitlab:
        yield gitlab


class TestGitLabFree(GitLabContract):
    """Labels with a prefix; an issue has one assignee, and `::` means nothing."""

    assignees = (PERSON, BOT)
    one_assignee = True

    @pytest.fixture
    def adapter(self, gitlab: GitLabDouble) -> Iterator[QueueAdapter]:
        gitlab.start_anew(*(f"agent::{queue}" for queue in QUEUES))
        gitlab.issue("A person's issue, on no board", "bug")
        adapter = gitlab.board().create_adapter()
        yield adapter
        adapter.close()
        assert gitlab.wire.violations == []


@pytest.mark.nightly
class TestGitLabPremium(GitLabContract):
    """The lists of an issue board; several assignees, and scoped labels exclude each other."""

    assignees = (PERSON, BOT)

    @pytest.fixture
    def adapter(self, gitlab: GitLabDouble) -> Iterator[QueueAdapter]:
        gitlab.start_anew()
        gitlab.state.tier = "premium"
        gitlab.state.add_board("Development", QUEUES)
        adapter = gitlab.board(board="Development").create_adapter()
        yield adapter
        adapter.close()
        assert gitlab.wire.violations == []


@pytest.mark.nightly
class TestRealGitLab(GitLabContract):
    one_assignee = True

    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        token = os.environ.get("ATHANORE_TEST_GITLAB_TOKEN")
        project = os.environ.get("ATHANORE_TEST_GITLAB_PROJECT")
        if not token or not project:
            pytest.skip("ATHANORE_TEST_GITLAB_TOKEN and ATHANORE_TEST_GITLAB_PROJECT are not set")
        url = os.environ.get("ATHANORE_TEST_GITLAB_URL", "https://gitlab.com")
        people = os.environ.get("ATHANORE_TEST_GITLAB_ASSIGNEES", "").split(",")
        if len(people) == 2:
            type(self).assignees = (people[0], people[1])
        delays = (timedelta(seconds=1),)
        client = GitLabClient(
            f"{url}/api/v4", token, timeout=timedelta(seconds=20), retry_delays=delays
        )
        _clean(client, f"projects/{project.replace('/', '%2F')}")
        board = GitLabBoard(project, prefix="test::", token=token, url=url)
        adapter = board.create_adapter()
        for queue in QUEUES:
            adapter.create_queue(queue)
        yield adapter
        adapter.close()
        _clean(client, f"projects/{project.replace('/', '%2F')}")
        client.close()


def _clean(client: GitLabClient, path: str) -> None:
    """Close the issues of earlier tests, and delete the labels of their boards."""
    for _ in range(60):
        try:
            for rows in client.pages(f"{path}/issues", {"state": "opened", "scope": "all"}):
                for row in rows:
                    if any(str(label).startswith("test::") for label in row["labels"]):
                        close = {"state_event": "close"}
                        client.write("PUT", f"{path}/issues/{row['iid']}", close)
            for rows in client.pages(f"{path}/labels"):
                for row in rows:
                    if row["name"].startswith("test::"):
                        client.write("DELETE", f"{path}/labels/{row['id']}")
            return
        except BoardUnavailableError as exc:
            time.sleep((exc.retry_after or timedelta(seconds=5)).total_seconds())
    raise AssertionError("GitLab's limit does not end")
