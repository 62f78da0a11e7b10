"""The queue adapters' contract on GitHub: on the double, and on a real account where one is given.

A real one needs ATHANORE_TEST_GITHUB_TOKEN and ATHANORE_TEST_GITHUB_REPO (`owner/name`), a
repository for nothing else: its labels that begin with `test:` are deleted, and its issues with
them closed. ATHANORE_TEST_GITHUB_ASSIGNEES names two accounts that may be assigned there. GitHub
takes 500 contents an hour, so that not all tests pass in one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from athanore.errors import BoardUnavailableError
from athanore.http_client.patience import Patience
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.github import GitHubBoard
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.credentials import PersonalToken
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.server import BOT, PERSON
from athanore.testing.queue_contract import QueueAdapterContract

QUEUES = ("Todo", "In Progress", "Done")


class GitHubContract(QueueAdapterContract):
    """What GitHub can take."""

    labels = ("bug", "urgent")
    missing_id = "999999"
    long_name = "n" * 256
    long_text = "Ein langer Text, 長い. " * 2_800
    labels_ordered = False
    queues_ordered = False


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubDouble]:
    with github_double() as github:
        yield github


class TestGitHubDouble(GitHubContract):
    assignees = (PERSON, BOT)

    @pytest.fixture
    def adapter(self, github: GitHubDouble) -> Iterator[QueueAdapter]:
        github.start_anew(*(f"agent:{queue}" for queue in QUEUES))
        github.issue("A person's issue, on no board", "bug")
        github.pull_request("A pull request in a queue", "agent:Todo")
        adapter = github.board().create_adapter()
        yield adapter
        adapter.close()
        assert github.wire.violations == []


@pytest.mark.nightly
class TestSeveralRepositories(GitHubContract):
    """Two repositories, of which the first gets what is made."""

    assignees = (PERSON, BOT)
    missing_id = "website-999999"

    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        labels = [f"agent:{queue}" for queue in QUEUES]
        others = ["octo-org/api"]
        with github_double(labels=labels, others=others) as github:
            adapter = github.board(*others).create_adapter()
            yield adapter
            adapter.close()
            assert github.wire.violations == []


@pytest.mark.nightly
class TestRealGitHub(GitHubContract):
    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        token = os.environ.get("ATHANORE_TEST_GITHUB_TOKEN")
        repository = os.environ.get("ATHANORE_TEST_GITHUB_REPO")
        if not token or not repository:
            pytest.skip("ATHANORE_TEST_GITHUB_TOKEN and ATHANORE_TEST_GITHUB_REPO are not set")
        people = os.environ.get("ATHANORE_TEST_GITHUB_ASSIGNEES", "").split(",")
        if len(people) == 2:
            type(self).assignees = (people[0], people[1])
        patience = Patience(retry_delays=(timedelta(seconds=1),))
        client = GitHubClient("https://api.github.com", PersonalToken(token), patience)
        _clean(client, repository)
        adapter = GitHubBoard(repository, prefix="test:", token=token).create_adapter()
        for queue in QUEUES:
            adapter.create_queue(queue)
        yield adapter
        adapter.close()
        _clean(client, repository)
        client.close()


def _clean(client: GitHubClient, repository: str) -> None:
    """Close the issues of earlier tests, and delete the labels of their boards."""
    path = f"repos/{repository}"
    for _ in range(60):
        try:
            for rows in client.pages(f"{path}/issues", {"state": "open"}):
                for row in rows:
                    if any(label["name"].startswith("test:") for label in row["labels"]):
                        client.write("PATCH", f"{path}/issues/{row['number']}", {"state": "closed"})
            for rows in client.pages(f"{path}/labels"):
                for row in rows:
                    if row["name"].startswith("test:"):
                        client.write("DELETE", row["url"].partition("github.com/")[2])
            return
        except BoardUnavailableError as exc:
            time.sleep((exc.retry_after or timedelta(seconds=5)).total_seconds())
    raise AssertionError("GitHub's limit does not end")
