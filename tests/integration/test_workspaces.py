"""Agents in folders of their own, with a real Prefect: attempts, setup, and stops."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, GitWorkspace, MemoryAdapter, Workspace
from tests.harness import app_name, running
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

AGENT = r"""
import os, pathlib, subprocess, sys
here, attempt = pathlib.Path.cwd(), os.environ["ATHANORE_ATTEMPT"]
assert os.environ["ATHANORE_WORKSPACE"] == str(here)
assert os.environ["ATHANORE_BASE"] == "main"
pathlib.Path(f"attempt-{attempt}.txt").write_text(sys.argv[1])
subprocess.run(["git", "add", f"attempt-{attempt}.txt"], check=True)
subprocess.run(["git", "commit", "-q", "-m", f"Attempt {attempt}"], check=True)
pathlib.Path("left.txt").write_text(attempt)
sys.exit(3 if attempt == "1" else 0)
"""


def app(folder: Path, agent: str = AGENT, **options: Any) -> tuple[AgentDispatcher, Repository]:
    repository = Repository(folder / "toy.git")
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", agent]),
        name=app_name("spaces"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        max_retries=1,
        workspace=GitWorkspace(repository.path, root=folder / "root", **options),
    )

    @dispatcher.route("Todo", done_queue="Done", retry_delay=0, env=ALONE)
    def todo(task_id: str, task_name: str, workspace: Workspace) -> str:  # pyright: ignore[reportUnusedFunction]
        return f"{task_name} on {workspace.branch} in {workspace}"

    return dispatcher, repository


def test_a_retry_goes_on_in_the_folder_of_the_attempt_before(
    prefect_api: str, tmp_path: Path
) -> None:
    dispatcher, repository = app(tmp_path, setup="git config athanore.setup done")
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task.id, "Done")
        run = it.prefect.ended(task.id)
    assert run["state_type"] == "COMPLETED"
    (folder,) = tmp_path.glob("root/*/tasks/*/*/toy")
    branch = f"athanore/{task.id}-fix-it"
    assert git(folder, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines() == [
        "Attempt 1",
        "Attempt 2",
    ]
    assert (folder / "attempt-1.txt").read_text() == f"Fix it on {branch} in {folder}"
    assert (folder / "left.txt").read_text() == "2"
    assert git(folder, "config", "athanore.setup") == "done"
    (mirror,) = tmp_path.glob("root/*/mirror.git")
    ref = f"refs/athanore/{folder.parent.parent.name}/{folder.parent.name}"
    assert [git(mirror, "show", f"{ref}/{n}:left.txt") for n in (1, 2)] == ["1", "2"]
    assert repository.branches() == ["main"]
    assert git(repository.path, "rev-parse", "main") == repository.first


@pytest.mark.nightly
def test_a_setup_that_fails_pauses_the_route_and_costs_no_attempt(
    prefect_api: str, tmp_path: Path
) -> None:
    dispatcher, _ = app(tmp_path, setup="missing-program sync")
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        wait_until("it is said on the card", lambda: it.comments(task.id))
        it.in_queue(task.id, "Todo")
        (comment,) = it.comments(task.id)
        wait_until(
            "the run waits for another attempt",
            lambda: it.prefect.run(task.id)["state_name"] == "AwaitingRetry",
        )
    assert "Route 'Todo' is paused: " in comment
    assert "setup failed: missing-program sync (command not found: 'missing-program')" in comment
    assert "Moving back to source queue." in comment
