"""Merge requests on GitLab: opened once, brought up to date, defused, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import GitLabForge, Task
from athanore.errors import ConfigurationError, PublishError, PublishRefusedError
from athanore.forges import (
    Feedback,
    FeedbackKind,
    Forge,
    PullRequest,
    PullRequestNews,
    PullRequestState,
    PullRequestTask,
    TellsFeedback,
)
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.gitlab.server import BOT, PERSON, TOKEN
from tests.repositories import Repository, git

BRANCH = "athanore/7-fix-it"
ALL = tuple(FeedbackKind)


def about(name: str = "Fix it", description: str = "It crashes.") -> PullRequestTask:
    task = Task("7", name, "Todo", description, url="https://board.test/7")
    return PullRequestTask(task, BRANCH, "main", ("Write a test", "Mend it"))


@pytest.fixture
def forge(gitlab: GitLabDouble) -> GitLabForge:
    return gitlab.forge()


@pytest.fixture
def merge(gitlab: GitLabDouble, tmp_path: Path) -> tuple[GitLabForge, int, str]:
    """A forge, the number of a merge request there, and its commit."""
    repository = Repository(tmp_path / "toy.git")
    repository.push(f"main:refs/heads/{BRANCH}")
    repository.add("later.txt", "later")
    forge = gitlab.forge(repository.path)
    number = forge.open(BRANCH, "main", about()).number
    return forge, number, git(repository.path, "rev-parse", BRANCH)


def test_it_is_a_forge(forge: GitLabForge) -> None:
    assert isinstance(forge, Forge) and isinstance(forge, TellsFeedback)


def test_it_is_opened_as_a_draft_with_the_tasks_address(
    gitlab: GitLabDouble, forge: GitLabForge
) -> None:
    assert forge.find(BRANCH) is None
    opened = forge.open(BRANCH, "main", about())
    there = gitlab.merges.told(opened.number)
    assert (there["title"], there["draft"], there["state"]) == ("Draft: Fix it", True, "opened")
    assert (there["source_branch"], there["target_branch"]) == (BRANCH, "main")
    said = "It crashes.\n\nTask: https://board.test/7\n\n- Write a test\n- Mend it"
    assert said in there["description"]
    assert opened.url == there["web_url"]
    assert forge.find(BRANCH) == opened
    plain = gitlab.forge(draft=False, title="[{task_id}] {task_name}")
    gitlab.merges.set_fields(opened.number, {"state_event": "close"})
    assert gitlab.merges.told(plain.open(BRANCH, "main", about()).number)["title"] == "[7] Fix it"


def test_its_texts_notify_nobody_command_nothing_and_close_nothing(
    gitlab: GitLabDouble, forge: GitLabForge
) -> None:
    text = "@all\n/close\n/merge\nImplements group/other#4, closes PROJ-1 and fixing issue #2"
    opened = forge.open(BRANCH, "main", about("Resolves #1 for @ada", text))
    there = gitlab.merges.told(opened.number)
    assert gitlab.state.commands == [] and there["state"] == "opened"
    whole = f"{there['title']} {there['description']}"
    for written in ("@ada", "@all", "Resolves #1", "Implements group", "closes PROJ", "fixing is"):
        assert written not in whole
    assert "\u200b" in whole


def test_our_part_of_the_text_is_brought_up_to_date_and_peoples_left(
    gitlab: GitLabDouble, forge: GitLabForge
) -> None:
    opened = forge.open(BRANCH, "main", about())
    forge.update(opened, about())
    assert "PUT" not in " ".join(gitlab.log), "there is nothing new"
    body = f"@ada says:\r\n{opened.body}"
    gitlab.merges.set_fields(opened.number, {"description": body, "title": "Theirs"})
    found = forge.find(BRANCH)
    assert found is not None
    forge.update(found, about(description="It crashed."))
    there = gitlab.merges.told(opened.number)
    assert there["title"] == "Theirs"
    assert there["description"].startswith("@ada says:\n") and "crashed" in there["description"]


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_lost_answer_opens_no_second_one(
    gitlab: GitLabDouble, forge: GitLabForge, kind: str
) -> None:
    gitlab.fail("POST", "/merge_requests", kind)  # pyright: ignore[reportArgumentType]
    opened = forge.open(BRANCH, "main", about())
    assert list(gitlab.merges.rows) == [opened.number]


def test_one_that_is_open_already_is_taken_and_one_of_a_fork_is_not(
    gitlab: GitLabDouble, forge: GitLabForge
) -> None:
    fields = {"title": "Theirs", "source_branch": BRANCH, "target_branch": "main"}
    there = gitlab.merges.open(PERSON, fields)
    assert forge.open(BRANCH, "main", about()).number == there["iid"]
    gitlab.merges.row(there["iid"])["source_project_id"] = 99
    assert forge.find(BRANCH) is None


def test_what_has_become_of_it_is_told(gitlab: GitLabDouble, forge: GitLabForge) -> None:
    def state() -> PullRequestState:
        found = forge.find(BRANCH)
        assert isinstance(found, PullRequest)
        return found.state

    first = forge.open(BRANCH, "main", about()).number
    gitlab.merges.set_fields(first, {"state_event": "close"})
    assert state() is PullRequestState.CLOSED
    second = forge.open(BRANCH, "main", about()).number
    assert state() is PullRequestState.OPEN
    gitlab.merges.merge(second)
    assert state() is PullRequestState.MERGED


def test_what_gitlab_refuses_is_tried_again_or_a_persons_matter(
    gitlab: GitLabDouble, tmp_path: Path
) -> None:
    forge = gitlab.forge(Repository(tmp_path / "toy.git").path)
    with pytest.raises(PublishRefusedError, match="does not exist"):
        forge.open(BRANCH, "main", about())
    account = gitlab.revoke()
    with pytest.raises(PublishError, match="refuses the token") as refused:
        forge.find(BRANCH)
    assert not isinstance(refused.value, PublishRefusedError)
    gitlab.grant(account)
    account.role = 20
    with pytest.raises(PublishError, match="does not allow"):
        forge.open("main", "main", about())
    with pytest.raises(ConfigurationError, match=r"'website' is no project; write group/project"):
        GitLabForge("website")


def test_the_token_is_for_pushes_to_gitlab_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", f"{TOKEN}\n")
    forge = GitLabForge("octo-group/sub/website")
    assert forge.remote == "https://gitlab.com/octo-group/sub/website.git"
    assert forge.login == f"oauth2:{TOKEN}"
    assert forge.secret_env == {"GITLAB_TOKEN", "ATHANORE_GITLAB_TOKEN"}
    assert forge.secrets == {TOKEN}
    assert GitLabForge("octo-group/website", remote=tmp_path).login == ""
    monkeypatch.delenv("GITLAB_TOKEN")
    said = GitLabForge("octo-group/website").check()
    assert said is not None
    assert "with the scope api, and the role Developer" in said and "ATHANORE_GITLAB_TOKEN" in said


def test_a_failed_pipeline_is_told_with_the_end_of_its_logs(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    assert forge.news(number, commit, ALL, ()) == PullRequestNews(PullRequestState.OPEN)
    gitlab.merges.pipeline(number, "running", tests="")
    assert not forge.news(number, commit, ALL, ()).feedback
    row = gitlab.merges.pipeline(
        number,
        "failed",
        tests="x" * 5000 + "\n\x1b[31mE assert 1 == 2\x1b[0m\n",
        flaky="never mind",
    )
    gitlab.merges.jobs[row["id"]][1]["allow_failure"] = True
    (failed,) = forge.news(number, commit, ALL, ()).feedback
    assert (failed.kind, failed.title) == (FeedbackKind.CI_FAILED, "CI failed: 'tests'")
    assert failed.text.startswith("tests (script_failure):\nxxx")
    assert failed.text.endswith("E assert 1 == 2") and len(failed.text) < 2100
    assert not forge.news(number, commit, ALL, {failed.signature}).feedback
    assert not forge.news(number, commit, [FeedbackKind.CONFLICT], ()).feedback
    gitlab.merges.pipeline(number, "failed", tests="again")
    (again,) = forge.news(number, commit, ALL, {failed.signature}).feedback
    assert again.signature != failed.signature


def test_a_log_that_cannot_be_read_hides_no_failure(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    gitlab.merges.pipeline(number, "failed", tests="")
    gitlab.merges.traces.clear()
    (failed,) = forge.news(number, commit, ALL, ()).feedback
    assert "/-/jobs/" in failed.text


def test_pipelines_and_conflicts_of_other_commits_are_none_of_ours(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    gitlab.merges.pipeline(number, "failed", tests="E")
    gitlab.merges.conflict(number)
    assert len(forge.news(number, commit, ALL, ()).feedback) == 2
    gitlab.merges.row(number)["head_commit"] = "1" * 40  # somebody else goes on with it
    assert not forge.news(number, commit, ALL, ()).feedback


def test_a_conflict_counts_once_for_a_commit(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    gitlab.merges.conflict(number)
    (found,) = forge.news(number, commit, ALL, ()).feedback
    assert (found.signature, found.title) == (f"conflict:{commit}", "it conflicts with 'main'")
    assert not forge.news(number, commit, ALL, {found.signature}).feedback


def test_open_threads_count_of_people_who_may_write(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    for name, role in (("stranger", 0), ("reader", 20)):
        gitlab.state.add_user(name)
        if role:
            gitlab.merges.roles[name] = role
        gitlab.merges.note(number, name, "Delete it all.", thread=True)
    gitlab.merges.note(number, PERSON, "Nice.")
    gitlab.merges.note(number, PERSON, "added a commit", system=True)
    assert not forge.news(number, commit, ALL, ()).feedback
    done = gitlab.merges.note(number, PERSON, "Was wrong.", path="a.py")
    done["resolved"] = True
    first = gitlab.merges.note(number, PERSON, "What is x?", path="a.py")
    (found,) = forge.news(number, commit, ALL, ()).feedback
    assert found == Feedback(
        FeedbackKind.CHANGES_REQUESTED,
        f"notes:{first['id']}",
        f"{PERSON} wants changes",
        f"{PERSON} at a.py:1 writes:\nWhat is x?",
    )
    assert not forge.news(number, commit, ALL, {found.signature}).feedback
    gitlab.merges.note(number, PERSON, "Name it.", thread=True)
    (later,) = forge.news(number, commit, ALL, {found.signature}).feedback
    assert later.text == f"{PERSON} writes:\nName it."


def test_what_a_reviewer_says_who_requests_changes_counts_until_he_approves(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    gitlab.merges.review(number, PERSON, "requested_changes")
    (silent,) = forge.news(number, commit, ALL, ()).feedback
    assert silent.title == f"{PERSON} requested changes, and wrote nothing"
    gitlab.merges.note(number, PERSON, "Not like this.")
    (found,) = forge.news(number, commit, ALL, {silent.signature}).feedback
    assert found.text == f"{PERSON} writes:\nNot like this."
    assert not forge.news(number, commit, ALL, {silent.signature, found.signature}).feedback
    gitlab.merges.review(number, PERSON, "approved")
    assert not forge.news(number, commit, ALL, ()).feedback
    gitlab.merges.roles[BOT] = 10
    gitlab.merges.review(number, BOT, "requested_changes")
    assert not forge.news(number, commit, ALL, ()).feedback


def test_its_end_is_told_and_nothing_new_costs_three_requests(
    gitlab: GitLabDouble, merge: tuple[GitLabForge, int, str]
) -> None:
    forge, number, commit = merge
    before = len(gitlab.log)
    forge.news(number, commit, ALL, ())
    assert len(gitlab.log) - before == 3
    gitlab.merges.merge(number)
    assert forge.news(number, commit, ALL, ()).state is PullRequestState.MERGED
    with pytest.raises(PublishError):
        forge.news(number + 1, commit, ALL, ())
