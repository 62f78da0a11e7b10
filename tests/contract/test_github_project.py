"""The queue adapters' contract on a project of GitHub: on the double.

Its REST is held to GitHub's description of it, its GraphQL executed on GitHub's schema.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.server import BOT, PERSON
from athanore.testing.queue_contract import QueueAdapterContract

QUEUES = ["Todo", "In Progress", "Done"]


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubDouble]:
    with github_double(project=("octo-org", 5)) as github:
        yield github


class TestGitHubProjectDouble(QueueAdapterContract):
    assignees = (PERSON, BOT)
    labels = ("bug", "urgent")
    missing_id = "website-999999"
    long_name = "n" * 256
    long_text = "Ein langer Text, 長い. " * 2_800
    labels_ordered = False
    manages_queues = False

    @pytest.fixture
    def adapter(self, github: GitHubDouble) -> Iterator[QueueAdapter]:
        github.start_anew()
        github.project.start_anew(QUEUES)
        github.project.add(github.issue("A person's issue, in no column", "bug"))
        pull = github.pull_request("A pull request in a column")
        github.project.add(pull, "Todo", kind="PullRequest")
        adapter = github.project_board().create_adapter()
        yield adapter
        adapter.close()
        assert github.wire.violations == []
