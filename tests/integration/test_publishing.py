"""`publish=`: what becomes of a branch whose agent has succeeded, with a real Prefect."""

from __future__ import annotations

import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, GitWorkspace, MemoryAdapter
from athanore.models import Task
from athanore.runtime.margins import Margins
from athanore.testing.doubles.github import github_double
from tests.forges import Hosting, OnGitHub, OnGitLab
from tests.harness import app_name, prompt, running
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

SOON = Margins(pulls=timedelta(seconds=0.3))
both = pytest.mark.parametrize(
    "forge",
    [
        pytest.param(OnGitHub, id="github"),
        pytest.param(OnGitLab, id="gitlab", marks=pytest.mark.nightly),
    ],
)

AGENT = r"""
import os, pathlib, subprocess
name = os.environ["FILE"]
pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(name).write_text("new")
subprocess.run(["git", "add", name], check=True)
subprocess.run(["git", "commit", "-q", "-m", f"Write {name}"], check=True)
"""


def app(
    folder: Path, name: str = "one.txt", *, space: dict[str, Any] | None = None, **options: Any
) -> tuple[AgentDispatcher, Repository]:
    repository = Repository(folder / "toy.git")
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Look"])
    board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
        name=app_name("publish"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        workspace=GitWorkspace(repository.path, root=folder / "root", **(space or {})),
    )
    given: dict[str, Any] = {
        "publish": "branch",
        "done_queue": "Done",
        "env": {**ALONE, "FILE": name},
    }
    dispatcher.route("Todo", **(given | options))(prompt)
    return dispatcher, repository


def reacting(
    folder: Path, host: Hosting, agent: str, said: Path | None = None, **options: Any
) -> tuple[AgentDispatcher, Task, Repository]:
    """An app with one task, whose agent goes on with what comes back of its pull request."""
    repository = Repository(folder / "toy.git")
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Merged"])
    task = board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", agent]),
        name=app_name("reacts"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        workspace=GitWorkspace(repository.path, root=folder / "root", forge=host.forge),
    )
    given: dict[str, Any] = {
        "done_queue": "Done",
        "publish": "pull-request",
        "merged_queue": "Merged",
        "env": ALONE if said is None else {**ALONE, "SAID": str(said)},
    }
    dispatcher.route("Todo", **(given | options))(prompt)
    return dispatcher, task, repository


def test_the_branch_is_pushed_and_the_card_says_so(prefect_api: str, tmp_path: Path) -> None:
    dispatcher, repository = app(tmp_path)
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task.id, "Done")
        (comment,) = it.comments(task.id)
    branch = f"athanore/{task.id}-fix-it"
    assert repository.branches() == [branch, "main"]
    assert git(repository.path, "log", "-1", "--format=%s", branch) == "Write one.txt"
    tip = git(repository.path, "rev-parse", branch)
    assert comment == (
        f"Published: branch {branch!r} at {tip[:10]}, 1 commit, on {repository.path}."
    )


def test_a_change_of_the_ci_waits_for_a_person(prefect_api: str, tmp_path: Path) -> None:
    dispatcher, repository = app(
        tmp_path, ".github/workflows/ci.yml", dead_letter_queue="Look", max_retries=2
    )
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task.id, "Look")
        run = it.prefect.ended(task.id)
        (comment,) = it.comments(task.id)
    assert run["state_name"] == "Not published"
    assert comment.startswith("Not published: the branch ")
    assert "changes .github/workflows/ci.yml" in comment
    assert f"athanore publish {task.id} --allow-ci-changes" in comment
    assert repository.branches() == ["main"]


@pytest.mark.nightly
def test_a_repository_that_is_away_is_waited_for_without_the_agent(
    prefect_api: str, tmp_path: Path
) -> None:
    hidden = tmp_path / "away"
    # The agent has its folder by then: the repository is needed to publish only.
    check = f"mv {tmp_path / 'toy.git'} {hidden}"
    dispatcher, repository = app(tmp_path, poll_interval=1, check=check)
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        wait_until("it is said on the card", lambda: len(it.comments(task.id)) == 2)
        wait_until(
            "it was tried again",
            lambda: (
                it.prefect.states(it.prefect.run(task.id)["id"]).count("Waiting to publish") > 1
            ),
        )
        hidden.rename(repository.path)
        it.in_queue(task.id, "Done")
        _, first, second = it.comments(task.id)
    assert first.startswith("Not published yet: ")
    assert second.startswith("Published: ")
    assert git(repository.path, "rev-list", "--count", f"main..athanore/{task.id}-fix-it") == "1"


@both
def test_a_pull_request_is_there_and_its_address_on_the_card(
    prefect_api: str, tmp_path: Path, forge: type[Hosting]
) -> None:
    with forge.served(tmp_path / "toy.git") as host:
        dispatcher, _ = app(tmp_path, space={"forge": host.forge}, publish="pull-request")
        (task,) = dispatcher.board.get_ready_tasks(["Todo"])
        with running(dispatcher, prefect_api) as it:
            it.in_queue(task.id, "Done")
            (comment,) = it.comments(task.id)
        (pull,) = host.pulls()
    assert comment.startswith(f"Published: {pull.url} (branch 'athanore/{task.id}-fix-it'")
    assert (pull.title, pull.is_draft) == ("Fix it", True)
    assert "- Write one.txt" in pull.text


@pytest.mark.nightly
@both
def test_a_conflict_comes_back_which_the_agent_resolves(
    prefect_api: str, tmp_path: Path, forge: type[Hosting]
) -> None:
    with forge.served(tmp_path / "toy.git") as host:
        dispatcher, task, repository = reacting(
            tmp_path, host, MERGING, expects="commits", reactions=["conflict"]
        )
        branch = f"athanore/{task.id}-fix-it"
        with running(dispatcher, prefect_api, margins=SOON) as it:
            it.in_queue(task.id, "Done")
            newest = repository.add("README.md", "theirs")
            host.conflicts(1)
            wait_until(
                "the conflict is resolved",
                lambda: git(repository.path, "merge-base", "main", branch) == newest,
            )
            it.in_queue(task.id, "Done")
            host.merge(1)
            it.in_queue(task.id, "Merged")
    assert git(repository.path, "show", f"{branch}:README.md") == "ours and theirs"


@pytest.mark.nightly
def test_one_that_was_closed_is_left_closed(prefect_api: str, tmp_path: Path) -> None:
    with github_double() as github:
        forge = github.forge(tmp_path / "toy.git")
        dispatcher, repository = app(tmp_path, space={"forge": forge}, publish="pull-request")
        (task,) = dispatcher.board.get_ready_tasks(["Todo"])
        branch = f"athanore/{task.id}-fix-it"
        repository.push(f"main:refs/heads/{branch}")
        repository.add("later.txt", "later")
        fields = {"title": "Theirs", "head": branch, "base": "main"}
        number = github.pulls.open("octocat", fields)["number"]
        github.pulls.set_fields(number, {"state": "closed"})
        with running(dispatcher, prefect_api) as it:
            assert it.prefect.ended(task.id)["state_name"] == "Not published"
            wait_until("it is said on the card", lambda: len(it.comments(task.id)) == 2)
            begins, comment = it.comments(task.id)
        assert len(github.pulls.listed("all", "")) == 1
    assert begins.startswith(f"The branch {branch} is published already")
    assert "was closed" in comment
    assert not git(repository.path, "rev-list", f"main..{branch}")


MERGING = r"""
import pathlib, subprocess, sys
def git(*words):
    return subprocess.run(["git", *words], capture_output=True, text=True)
text = "ours"
if "git merge origin/main" in sys.argv[1]:
    assert git("merge", "origin/main").returncode, "there is no conflict"
    assert "theirs" in pathlib.Path("README.md").read_text()
    text = "ours and theirs"
pathlib.Path("README.md").write_text(text)
assert git("commit", "-q", "-a", "-m", f"Write {text}").returncode == 0
"""


REACTING = r"""
import os, pathlib, subprocess, sys
said = pathlib.Path(os.environ["SAID"])
number = len(list(said.iterdir()))
(said / str(number)).write_text(sys.argv[1])
pathlib.Path("work.txt").open("a").write(f"{number}\n")
subprocess.run(["git", "add", "work.txt"], check=True)
subprocess.run(["git", "commit", "-q", "-m", f"Work {number}"], check=True)
"""


@both
def test_a_failed_check_brings_the_agent_back_and_a_merge_the_task_on(
    prefect_api: str, tmp_path: Path, forge: type[Hosting]
) -> None:
    said = tmp_path / "said"
    said.mkdir()
    with forge.served(tmp_path / "toy.git") as host:
        dispatcher, task, repository = reacting(
            tmp_path, host, REACTING, said, reactions=["ci_failed", "changes_requested", "conflict"]
        )
        branch = f"athanore/{task.id}-fix-it"
        with running(dispatcher, prefect_api, margins=SOON) as it:
            it.in_queue(task.id, "Done")
            host.fails(1, git(repository.path, "rev-parse", branch))
            wait_until("an agent went on", lambda: len(list(said.iterdir())) == 2)
            it.in_queue(task.id, "Done")
            host.merge(1)
            it.in_queue(task.id, "Merged")
            comments = it.comments(task.id)
            clones = tmp_path / "root"
            wait_until("its folder is gone", lambda: not list(clones.glob("*/tasks/**/work.txt")))
        (pull,) = host.pulls()
    told = (said / "1").read_text()
    assert "    > E assert 1 == 2" in told and pull.url in told
    assert "assert" not in (said / "0").read_text()
    subjects = git(repository.path, "log", "--format=%s", f"main..{branch}").splitlines()
    assert subjects == ["Work 1", "Work 0"]
    assert [c.partition(" ")[0] for c in comments] == [
        "Published:",
        f"{pull.url}:",
        "Published:",
        "Merged:",
    ]
