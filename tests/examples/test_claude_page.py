"""The page about Claude Code: its app, on a GitHub of our own and with a program like the CLI."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.runtime import apps
from athanore.runtime.margins import Margins
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN
from tests.docs.pages import DOCS
from tests.harness import app_name, running
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

CLAUDE = """#!{python}
import json, pathlib, subprocess, sys
pathlib.Path({said!r}).write_text(json.dumps([sys.argv[1:], sys.stdin.read()]))
pathlib.Path("fix.txt").write_text("fixed\\n")
subprocess.run(["git", "add", "fix.txt"], check=True)
subprocess.run(["git", "commit", "-q", "-m", "Fix it"], check=True)
print(json.dumps({{"type": "system", "subtype": "init", "session_id": "s"}}))
print(json.dumps({{
    "type": "result", "subtype": "success", "is_error": False, "duration_ms": 1,
    "duration_api_ms": 1, "num_turns": 1, "session_id": "s", "total_cost_usd": 0.5,
    "usage": {{"input_tokens": 1, "output_tokens": 2}}, "result": "done",
}}))
"""


@pytest.mark.nightly
def test_an_issue_becomes_a_merged_pull_request(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "claude-code.md").read_text(), re.S | re.M
    )
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(CLAUDE.format(python=sys.executable, said=str(tmp_path / "said")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("ATHANORE_API_PORT", "0")
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    repository = Repository(tmp_path / "website.git")
    labels = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Review", "Failed", "Done")]
    with github_double("octo-org/website", labels) as github:
        github.forge(repository.path)
        on_double = f'REPOSITORY, url="{github.url}"'
        code = (
            code.replace("GitHubBoard(REPOSITORY", f"GitHubBoard({on_double}")
            .replace(
                "GitHubForge(REPOSITORY", f'GitHubForge({on_double}, remote="{repository.path}"'
            )
            .replace('f"https://github.com/{REPOSITORY}.git"', repr(str(repository.path)))
            .replace("Path.home()", f"Path({str(tmp_path)!r})")
        )
        (tmp_path / "page.py").write_text(code)
        dispatcher = apps.load(f"{tmp_path / 'page.py'}:dispatcher")
        dispatcher.name = app_name("page")
        number = str(github.issue("Fix crash", "agent:Todo")["number"])
        with running(dispatcher, prefect_api, margins=Margins(pulls=timedelta(seconds=0.3))) as it:
            it.in_queue(number, "Review")
            (pull,) = github.pulls.listed("open", "")
            branch = f"athanore/{number}-fix-crash"
            assert git(repository.path, "log", "-1", "--format=%s", branch) == "Fix it"
            with github.wire.lock:
                github.pulls.merge(pull["number"])
            it.in_queue(number, "Done")
            issue = github.state.issue(int(number))
            wait_until("the issue is closed", lambda: issue["state"] == "closed", 30)
            comments = it.comments(number)
    assert [c.partition(" ")[0] for c in comments] == ["Checked:", "Published:", "Merged:"]
    assert issue["state_reason"] == "completed"
    said = (tmp_path / "said").read_text()
    assert f"Work on issue {number}: Fix crash." in said and "--allowedTools" in said
