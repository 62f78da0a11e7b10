"""Pull requests on GitHub: opened once, brought up to date, and defused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from athanore import GitHubForge, Task
from athanore.errors import ConfigurationError, PublishError, PublishRefusedError
from athanore.forges import PullRequestState, PullRequestTask
from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.server import PERSON, TOKEN
from tests.repositories import Repository

PULLS = "/repos/octo-org/website/pulls"
BRANCH = "athanore/7-fix-it"


def about(**values: str) -> PullRequestTask:
    given = {"description": "It crashes.", "url": "https://board.test/7"} | values
    task = Task("7", values.pop("name", "Fix it"), "Todo", given["description"], url=given["url"])
    return PullRequestTask(task, BRANCH, "main", ("Write a test", "Mend it"))


def counted(about: PullRequestTask) -> str:
    return f"{len(about.commits)} commits"


def failing(about: PullRequestTask) -> str:
    return str(1 / 0)


@pytest.fixture
def forge(github: GitHubDouble) -> GitHubForge:
    return github.forge()


def test_it_is_opened_as_a_draft_with_the_tasks_address(
    github: GitHubDouble, forge: GitHubForge
) -> None:
    assert forge.find(BRANCH) is None
    opened = forge.open(BRANCH, "main", about())
    there = github.pulls.told(opened.number)
    assert (there["title"], there["draft"], there["state"]) == ("Fix it", True, "open")
    assert (there["head"]["ref"], there["base"]["ref"]) == (BRANCH, "main")
    assert "It crashes.\n\nTask: https://board.test/7\n\n- Write a test\n- Mend it" in there["body"]
    assert opened.url == there["html_url"]
    assert forge.find(BRANCH) == opened


def test_its_texts_notify_nobody_and_close_nothing(
    github: GitHubDouble, forge: GitHubForge
) -> None:
    opened = forge.open(BRANCH, "main", about(name="Fixes #1 for @octocat", description="@all"))
    there = github.pulls.told(opened.number)
    for text in (there["title"], there["body"]):
        assert "@octocat" not in text
        assert "@all" not in text
        assert "Fixes #1" not in text


def test_templates_and_functions_say_other_texts(github: GitHubDouble) -> None:
    forge = github.forge(title="[{task_id}] {task_name}", body=counted, draft=False)
    there = github.pulls.told(forge.open(BRANCH, "main", about()).number)
    assert there["title"] == "[7] Fix it"
    assert "2 commits" in there["body"]
    assert not there["draft"]


@pytest.mark.parametrize("template", ["{task}", "{task_id.__class__}", "{"])
def test_a_template_that_is_wrong_is_told_at_once(template: str) -> None:
    with pytest.raises(ConfigurationError, match="title="):
        GitHubForge("octo-org/website", title=template)


def test_a_function_that_fails_is_a_persons_matter(github: GitHubDouble) -> None:
    forge = github.forge(body=failing)
    with pytest.raises(PublishRefusedError, match="ZeroDivisionError"):
        forge.open(BRANCH, "main", about())


def test_our_part_of_the_text_is_brought_up_to_date_and_peoples_left(
    github: GitHubDouble, forge: GitHubForge
) -> None:
    number = forge.open(BRANCH, "main", about()).number
    body = str(github.pulls.told(number)["body"]).replace("\n", "\r\n")
    github.pulls.set_fields(number, {"title": "Theirs", "body": f"@octocat says:\r\n{body}"})
    found = forge.find(BRANCH)
    assert found is not None
    forge.update(found, about(description="It crashed."))
    there = github.pulls.told(number)
    assert there["title"] == "Theirs"
    assert there["body"].startswith("@octocat says:\n")
    assert "It crashed." in there["body"]
    github.log.clear()
    again = forge.find(BRANCH)
    assert again is not None
    forge.update(again, about(description="It crashed."))
    assert github.log == [f"GET {PULLS}"]
    github.pulls.set_fields(number, {"body": "All theirs."})
    theirs = forge.find(BRANCH)
    assert theirs is not None
    forge.update(theirs, about())
    assert github.pulls.told(number)["body"] == "All theirs."


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_lost_answer_opens_no_second_one(
    github: GitHubDouble, forge: GitHubForge, kind: str
) -> None:
    github.fail("POST", PULLS, kind)  # pyright: ignore[reportArgumentType]
    opened = forge.open(BRANCH, "main", about())
    assert [row["number"] for row in github.pulls.listed("all", "")] == [opened.number]


def test_one_that_is_open_already_is_taken(github: GitHubDouble, forge: GitHubForge) -> None:
    fields = {"title": "Theirs", "head": BRANCH, "base": "main"}
    there = github.pulls.open(PERSON, fields)
    assert forge.open(BRANCH, "main", about()).number == there["number"]


def test_what_has_become_of_it_is_told(github: GitHubDouble, forge: GitHubForge) -> None:
    first = forge.open(BRANCH, "main", about()).number
    github.pulls.set_fields(first, {"state": "closed"})
    found = forge.find(BRANCH)
    assert found is not None
    assert found.state is PullRequestState.CLOSED
    second = forge.open(BRANCH, "main", about()).number
    found = forge.find(BRANCH)
    assert found is not None
    assert (found.number, found.state) == (second, PullRequestState.OPEN)
    github.pulls.merge(second)
    found = forge.find(BRANCH)
    assert found is not None
    assert (found.number, found.state) == (second, PullRequestState.MERGED)


def test_a_repository_without_drafts_has_it_opened_as_usual(
    github: GitHubDouble, forge: GitHubForge
) -> None:
    github.pulls.has_drafts = False
    number = forge.open(BRANCH, "main", about()).number
    assert not github.pulls.told(number)["draft"]


def test_what_github_cannot_take_is_a_persons_matter(github: GitHubDouble, tmp_path: Path) -> None:
    forge = github.forge(Repository(tmp_path / "toy.git").path)
    with pytest.raises(PublishRefusedError, match="head invalid"):
        forge.open(BRANCH, "main", about())


def test_a_refused_token_and_a_limit_are_tried_again(
    github: GitHubDouble, forge: GitHubForge
) -> None:
    account = github.revoke()
    with pytest.raises(PublishError, match="refuses the token") as refused:
        forge.find(BRANCH)
    assert not isinstance(refused.value, PublishRefusedError)
    github.grant(account)
    github.refuse_for(30)
    with pytest.raises(PublishError, match="limit") as limited:
        forge.find(BRANCH)
    assert not isinstance(limited.value, PublishRefusedError)


def test_the_token_is_for_pushes_to_github_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\n")
    forge = GitHubForge("octo-org/website", timeout=timedelta(seconds=1))
    assert forge.remote == "https://github.com/octo-org/website.git"
    assert forge.login == f"x-access-token:{TOKEN}"
    assert forge.secret_env == {"GITHUB_TOKEN", "ATHANORE_GITHUB_TOKEN"}
    assert forge.secrets == {TOKEN}
    assert GitHubForge("octo-org/website", remote=tmp_path).login == ""
    monkeypatch.delenv("GITHUB_TOKEN")
    said = GitHubForge("octo-org/website").check()
    assert said is not None
    assert "ATHANORE_GITHUB_TOKEN" in said
