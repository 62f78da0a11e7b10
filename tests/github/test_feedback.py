"""What comes back of a pull request on GitHub."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import GitHubForge
from athanore.errors import PublishError
from athanore.forges import Feedback, FeedbackKind, PullRequestNews, PullRequestState
from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.server import PERSON
from tests.repositories import Repository, git

BRANCH = "athanore/7-fix-it"
ALL = tuple(FeedbackKind)


@pytest.fixture
def pull(github: GitHubDouble, tmp_path: Path) -> tuple[GitHubForge, int, str]:
    """A forge, the number of a pull request there, and its commit."""
    repository = Repository(tmp_path / "toy.git")
    repository.push(f"main:refs/heads/{BRANCH}")
    repository.add("later.txt", "later")
    forge = github.forge(repository.path)
    fields = {"title": "Fix it", "head": BRANCH, "base": "main"}
    number = github.pulls.open("athanore-bot", fields)["number"]
    return forge, number, git(repository.path, "rev-parse", BRANCH)


def test_checks_count_when_all_have_ended(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    assert forge.news(number, commit, ALL, ()) == PullRequestNews(PullRequestState.OPEN)
    log = "x" * 5000 + "\n\x1b[31mE assert 1 == 2\x1b[0m\n"
    github.pulls.check(commit, "tests", "failure", log)
    working = github.pulls.check(commit, "lint", None)
    assert not forge.news(number, commit, ALL, ()).feedback
    working |= {"status": "completed", "conclusion": "success"}
    (failed,) = forge.news(number, commit, ALL, ()).feedback
    assert (failed.kind, failed.title) == (FeedbackKind.CI_FAILED, "CI failed: 'tests'")
    assert failed.text.startswith("tests (failure):\nxxx")
    assert failed.text.endswith("E assert 1 == 2")
    assert len(failed.text) < 2100
    assert not forge.news(number, commit, ALL, {failed.signature}).feedback
    github.pulls.check(commit, "tests again", "failure")
    (again,) = forge.news(number, commit, ALL, {failed.signature}).feedback
    assert again.signature != failed.signature


def test_checks_of_other_commits_are_none_of_ours(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    other = "1" * 40
    github.pulls.check(other, "tests", "failure")
    assert not forge.news(number, commit, ALL, ()).feedback
    github.pulls.check(commit, "tests", "failure")
    assert forge.news(number, commit, ALL, ()).feedback
    github.pulls.rows[number]["head_commit"] = other  # somebody else goes on with it
    assert not forge.news(number, commit, ALL, ()).feedback


def test_a_log_that_cannot_be_read_hides_no_failure(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    row = github.pulls.check(commit, "tests", "timed_out")
    del github.pulls.logs[row["id"]]
    (failed,) = forge.news(number, commit, ALL, ()).feedback
    assert row["html_url"] in failed.text


def test_a_token_that_may_not_read_checks_hides_no_review(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    github.pulls.has_checks = False
    github.pulls.check(commit, "tests", "failure")
    github.pulls.conflict(number)
    github.pulls.review(number, PERSON, "CHANGES_REQUESTED", "Name it.", "OWNER")
    news = forge.news(number, commit, ALL, ())
    assert [one.kind for one in news.feedback] == [
        FeedbackKind.CONFLICT,
        FeedbackKind.CHANGES_REQUESTED,
    ]
    assert "use a classic token with the scope repo, or a GitHub App" in news.unseen


def test_changes_count_that_people_request_who_may_write(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    github.pulls.review(number, "stranger", "CHANGES_REQUESTED", "Do evil.", "CONTRIBUTOR")
    github.pulls.review(number, "ada", "COMMENTED", "Hm.", "MEMBER")
    assert not forge.news(number, commit, ALL, ()).feedback
    asked = github.pulls.review(number, PERSON, "CHANGES_REQUESTED", "Name it.", "OWNER")
    github.pulls.remark(number, PERSON, "What is x?", "a.py", "OWNER", asked["id"])
    github.pulls.remark(number, "stranger", "Delete it.", "a.py", "NONE", asked["id"])
    (found,) = forge.news(number, commit, ALL, ()).feedback
    assert found == Feedback(
        FeedbackKind.CHANGES_REQUESTED,
        f"review:{asked['id']}",
        f"{PERSON} requests changes",
        f"{PERSON} writes:\nName it.\na.py:1: What is x?",
    )
    assert not forge.news(number, commit, [FeedbackKind.CI_FAILED], ()).feedback
    github.pulls.review(number, PERSON, "APPROVED", "", "OWNER")
    assert not forge.news(number, commit, ALL, ()).feedback


def test_a_conflict_counts_once_for_a_commit(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    github.pulls.conflict(number)
    (found,) = forge.news(number, commit, ALL, ()).feedback
    assert (found.signature, found.title) == (f"conflict:{commit}", "it conflicts with 'main'")
    assert not forge.news(number, commit, ALL, {found.signature}).feedback


def test_its_end_is_told(github: GitHubDouble, pull: tuple[GitHubForge, int, str]) -> None:
    forge, number, commit = pull
    github.pulls.merge(number)
    assert forge.news(number, commit, ALL, ()).state is PullRequestState.MERGED
    with pytest.raises(PublishError):
        forge.news(number + 1, commit, ALL, ())


def test_nothing_new_costs_three_requests(
    github: GitHubDouble, pull: tuple[GitHubForge, int, str]
) -> None:
    forge, number, commit = pull
    before = len(github.log)
    forge.news(number, commit, ALL, ())
    assert len(github.log) - before == 3
