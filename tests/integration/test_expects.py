"""`expects=`: an agent that ends well and has left nothing of it has failed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, GitWorkspace, MemoryAdapter
from athanore.errors import RouteError
from tests.harness import app_name, prompt, running
from tests.repositories import ALONE, Repository

AGENT = r"""
import json, os, pathlib, subprocess, sys, urllib.request
attempt = os.environ["ATHANORE_ATTEMPT"]
pathlib.Path(os.environ["NOTES"], f"prompt-{attempt}").write_text(sys.argv[1])
if attempt == "1":
    sys.exit()
if os.environ["EXPECTS"] == "commits":
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "Done"], check=True)
    sys.exit()
what = {"comment": ("comments", {"comment": "Done."}), "move": ("move", {"target_queue": "Done"})}
path, body = what[os.environ["EXPECTS"]]
urllib.request.urlopen(urllib.request.Request(
    f"{os.environ['ATHANORE_API_URL']}/tasks/{os.environ['ATHANORE_TASK_ID']}/{path}",
    json.dumps(body).encode(),
    {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"]},
))
"""


def app(folder: Path, expects: str, **options: Any) -> AgentDispatcher:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
        name=app_name("expects"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        max_retries=1,
    )
    env = {**ALONE, "EXPECTS": expects, "NOTES": str(folder)}
    given: dict[str, Any] = {"retry_delay": 0, "expects": expects, "env": env, "done_queue": "Done"}
    dispatcher.route("Todo", **(given | options))(prompt)
    return dispatcher


@pytest.mark.parametrize(
    ("expects", "missing"),
    [
        pytest.param(
            "commits",
            "no commit on the branch 'athanore/1-fix-it'",
            marks=pytest.mark.nightly,
        ),
        pytest.param("move", "the task is still in 'In Progress'", marks=pytest.mark.nightly),
        ("comment", "no comment on the task"),
    ],
)
def test_an_agent_that_left_nothing_has_failed_and_the_next_is_told(
    prefect_api: str, tmp_path: Path, expects: str, missing: str
) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    options = {"workspace": space} if expects == "commits" else {}
    dispatcher = app(tmp_path, expects, **options)
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task.id, "Done")
        assert it.prefect.ended(task.id)["state_type"] == "COMPLETED"
        first = it.comments(task.id)[0]
    assert first.startswith(f"Retry 1/1: nothing happened: {missing}. ")
    assert f"    nothing happened: {missing}" in (tmp_path / "prompt-2").read_text()


def test_commits_need_a_folder_with_git(tmp_path: Path) -> None:
    with pytest.raises(RouteError, match="expects='commits' needs a workspace with git"):
        app(tmp_path, "commits")
    with pytest.raises(RouteError, match="expects='tests' must be 'commits' or 'move' or"):
        app(tmp_path, "tests")
