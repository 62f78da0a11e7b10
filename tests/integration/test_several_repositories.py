"""A queue whose issues are of several repositories: each is published in its own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from athanore import AgentDispatcher, GitHubForge, GitWorkspace
from athanore.runtime.margins import Margins
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.pulls import Pulls
from athanore.testing.doubles.github.server import PERSON
from tests.harness import app_name, running
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

OTHER = "octo-org/api"
LABELS = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Review", "Done")]

AGENT = r"""
import pathlib, subprocess, sys
where = pathlib.Path("README.md").read_text()
pathlib.Path("work.txt").write_text(f"{sys.argv[1]} It is done in {where}.")
subprocess.run(["git", "add", "work.txt"], check=True)
subprocess.run(["git", "commit", "-q", "-m", f"Work in {where}"], check=True)
"""

pytestmark = pytest.mark.nightly


def engineer(task_id: str, task_name: str) -> str:
    return f"Work on issue {task_id}: {task_name}."


def user_script(
    github: GitHubDouble, forges: dict[str, GitHubForge], folder: Path
) -> AgentDispatcher:
    """What docs/boards.md shows, with the double's address and clones on this machine."""
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
        name=app_name("several"),
        queue_backend=github.board(OTHER),
        poll_interval=1,
        api_port=0,
    )

    def workspace(name: str) -> GitWorkspace:
        return GitWorkspace(folder / f"{name}.git", root=folder / "root", forge=forges[name])

    for name in ("website", "api"):
        dispatcher.route(
            "Todo",
            name=name,
            match=lambda task, name=name: task.id.startswith(f"{name}-"),
            done_queue="Review",
            merged_queue="Done",
            workspace=workspace(name),
            publish="pull-request",
            env=ALONE,
        )(engineer)
    return dispatcher


def labels(github: GitHubDouble, repository: str) -> list[str]:
    """Those of the first issue of a repository."""
    with github.wire.lock:
        state = github.wire.others.get(repository, github.state)
        return [label["name"] for label in state.issues[1]["labels"]]


def comments(github: GitHubDouble, repository: str) -> list[str]:
    with github.wire.lock:
        state = github.wire.others.get(repository, github.state)
        return [comment["body"] for comment in state.comments[1]]


def test_each_issue_is_published_in_its_repository(prefect_api: str, tmp_path: Path) -> None:
    with github_double(labels=LABELS, others=[OTHER]) as github:
        repositories = {name: Repository(tmp_path / f"{name}.git") for name in ("website", "api")}
        for name, repository in repositories.items():
            repository.add("README.md", name)
        forges = {
            "website": github.forge(repositories["website"].path),
            "api": github.forge(repositories["api"].path, repository=OTHER),
        }
        pulls: dict[str, Pulls] = {"website": github.pulls, "api": github.pulls_in(OTHER)}
        github.issue("Fix the page", "agent:Todo")
        with github.wire.lock:  # with the same number
            github.wire.others[OTHER].add_issue(PERSON, "Fix the call", None, ["agent:Todo"])
        app = user_script(github, forges, tmp_path)
        margins = Margins(pulls=Margins().pulls / 400)
        with running(app, prefect_api, margins=margins):
            for name, full in (("website", github.repository), ("api", OTHER)):
                wait_until(
                    f"{name} is published", lambda f=full: "agent:Review" in labels(github, f)
                )
                with github.wire.lock:
                    (pull,) = pulls[name].listed("open", "")
                branch = f"athanore/{name}-1-fix-the-{'page' if name == 'website' else 'call'}"
                assert pull["head"]["ref"] == branch
                assert f"/{full}/pull/" in pull["html_url"]
                work = git(repositories[name].path, "show", f"{branch}:work.txt")
                assert work.startswith(f"Work on issue {name}-1: Fix the ")
                assert work.endswith(f"It is done in {name}.")
                (said,) = comments(github, full)
                assert said.startswith(f"Published: {pull['html_url']} ")
                assert repositories[name].branches() == [branch, "main"]
            for name, full in (("api", OTHER), ("website", github.repository)):
                with github.wire.lock:
                    pulls[name].merge(pulls[name].listed("open", "")[0]["number"])
                wait_until(f"{name} is done", lambda f=full: "agent:Done" in labels(github, f))
        assert github.wire.violations == []
