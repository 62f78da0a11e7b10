"""The cookbook's app does what its page says: the code is taken from the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from athanore.runtime import apps
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import PERSON, TOKEN
from examples.issue_to_pull_request.offline import make_repository
from tests.harness import app_name, running
from tests.repositories import git
from tests.support import LOCAL, wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"


def block(language: str) -> str:
    """The one block of the page in a language."""
    fenced = rf"^```{language}\n(.*?)^```$"
    (found,) = re.findall(fenced, PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return found


def test_an_issue_becomes_a_pull_request_by_way_of_a_person(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "website.git"
    make_repository(remote)
    gate = 'approve_before="publish",'
    code = block("python").replace(gate, f"{gate} approve_insecurely=True,")
    code = code.replace("poll_interval=15", "poll_interval=2")
    (tmp_path / "run.py").write_text(code)
    (tmp_path / "agent.sh").write_text(block("sh"))
    labels = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Waiting", "Review", "Failed")]
    with github_double("octo-org/website", labels) as github:
        github.forge(remote)
        for name, value in {"URL": github.url, "TOKEN": TOKEN}.items():
            monkeypatch.setenv(f"GITHUB_{name}", value)
        monkeypatch.setenv("REMOTE", str(remote))
        monkeypatch.setenv("ATHANORE_API_PORT", "0")
        dispatcher = apps.load(f"{tmp_path / 'run.py'}:dispatcher")
        dispatcher.name = app_name("cookbook")
        number = int(github.issue("Say hello", "agent:Todo")["number"])
        with running(dispatcher, prefect_api) as it:
            task_id = str(number)

            def asked(words: str) -> bool:
                return any(words in text for text in github.comments(number))

            wait_until("the agent asks on the issue", lambda: asked("How often shall I say"))
            it.in_queue(task_id, "Waiting")
            assert asked("or with a comment: /answer one")
            github.comment(number, "/answer two")
            wait_until("it asks whether to publish", lambda: asked("May the branch"), 180)
            assert github.pulls.listed("open", "") == []
            assert asked("Answer to question") and asked(f"by {PERSON} (comment): two")
            answer = LOCAL.post(
                f"{it.api_url}/tasks/{task_id}/approve", json={"by": "eve"}, timeout=60
            )
            assert answer.is_success, answer.text
            it.in_queue(task_id, "Review", 180)
            (pull,) = github.pulls.listed("open", "")
            branch = pull["head"]["ref"]
            said = git(remote, "show", f"{branch}:greeting.txt")
            assert said.splitlines() == [f"Hello from issue {number}."] * 2
