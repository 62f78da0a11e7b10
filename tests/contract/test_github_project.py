"""The queue adapters' contract on a project of GitHub: on the double, and on a real one.

On the double REST is held to GitHub's description of it, and GraphQL executed on GitHub's schema.
A real one needs ATHANORE_TEST_GITHUB_TOKEN, ATHANORE_TEST_GITHUB_REPO (`owner/name`, for nothing
else) and ATHANORE_TEST_GITHUB_PROJECT (`owner/number`), whose Status field has the columns Todo, In
Progress and Done in this order, and no workflow that is switched on. All that is in the project is
closed and taken out of it. ATHANORE_TEST_GITHUB_ASSIGNEES names two accounts that may be assigned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from athanore import GitHubProjectBoard
from athanore.queue_adapters.base import QueueAdapter
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.app import SCHEMA
from athanore.testing.doubles.github.server import BOT, PERSON
from athanore.testing.doubles.graphql import Schema
from athanore.testing.queue_contract import QueueAdapterContract

QUEUES = ["Todo", "In Progress", "Done"]


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubDouble]:
    with github_double(project=("octo-org", 5)) as github:
        yield github


class GitHubProjectContract(QueueAdapterContract):
    labels = ("bug", "urgent")
    long_name = "n" * 256
    long_text = "Ein langer Text, 長い. " * 2_800
    labels_ordered = False
    manages_queues = False


class TestGitHubProjectDouble(GitHubProjectContract):
    assignees = (PERSON, BOT)
    missing_id = "website-999999"

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


ITEMS: Final = """
query Items($owner: String!, $number: Int!) {
  repositoryOwner(login: $owner) { ... on ProjectV2Owner { projectV2(number: $number) { id
    items(first: 50) { nodes { id content { ... on Issue { id state } } } } } } }
}"""

CLOSE: Final = """
mutation Close($issue: ID!) { closeIssue(input: {issueId: $issue}) { issue { id } } }"""

TAKE_OUT: Final = """
mutation TakeOut($project: ID!, $item: ID!) {
  deleteProjectV2Item(input: {projectId: $project, itemId: $item}) { deletedItemId }
}"""


def test_what_empties_a_real_project_is_valid_on_githubs_schema() -> None:
    schema = Schema(SCHEMA, {})
    assert [schema.invalid(document) for document in (ITEMS, CLOSE, TAKE_OUT)] == [[]] * 3


@pytest.mark.nightly
class TestRealGitHubProject(GitHubProjectContract):
    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        names = ("GITHUB_TOKEN", "GITHUB_REPO", "GITHUB_PROJECT")
        given = [os.environ.get(f"ATHANORE_TEST_{name}", "") for name in names]
        if not all(given):
            pytest.skip("ATHANORE_TEST_GITHUB_TOKEN, ..._REPO and ..._PROJECT are not set")
        token, repository, project = given
        owner, _, number = project.partition("/")
        people = os.environ.get("ATHANORE_TEST_GITHUB_ASSIGNEES", "").split(",")
        if len(people) == 2:
            type(self).assignees = (people[0], people[1])
        type(self).missing_id = f"{repository.partition('/')[2]}-999999"
        _empty(token, owner, int(number))
        board = GitHubProjectBoard(owner, int(number), repository=repository, token=token)
        adapter = board.create_adapter()
        yield adapter
        adapter.close()
        _empty(token, owner, int(number))


def _empty(token: str, owner: str, number: int) -> None:
    """Close what is in a project, and take it out."""
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "athanore's tests"}
    with httpx.Client(headers=headers, timeout=60) as client:

        def ask(document: str, **variables: object) -> Any:
            sent = {"query": document, "variables": variables}
            answer = client.post("https://api.github.com/graphql", json=sent).raise_for_status()
            assert "errors" not in answer.json(), answer.text
            return answer.json()["data"]

        while True:
            found = ask(ITEMS, owner=owner, number=number)["repositoryOwner"]["projectV2"]
            if not found["items"]["nodes"]:
                return
            for item in found["items"]["nodes"]:
                content = item["content"]
                if content and content.get("state") == "OPEN":
                    ask(CLOSE, issue=content["id"])
                ask(TAKE_OUT, project=found["id"], item=item["id"])
