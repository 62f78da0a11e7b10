"""`check=`: an agent that says it is done is done when the commands of its route say so, too."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from athanore import AgentDispatcher, DirectoryWorkspace, MemoryAdapter
from tests.harness import app_name, prompt, running
from tests.support import wait_until

AGENT = r"""
import os, pathlib, sys
attempt = os.environ["ATHANORE_ATTEMPT"]
pathlib.Path(f"prompt-{attempt}").write_text(sys.argv[1])
if attempt == "2":
    pathlib.Path("good").touch()
"""

CHECK = r"""
test -z "$ATHANORE_TOKEN" || exit 4
test "$ATHANORE_WORKSPACE" = "$(pwd -P)" || exit 5
test -f good || { echo "1 failed"; echo "a warning" >&2; exit 3; }
"""


def app(folder: Path, check: list[str], **options: Any) -> AgentDispatcher:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
        name=app_name("check"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        max_retries=1,
        workspace=DirectoryWorkspace(folder / "root"),
    )
    dispatcher.route("Todo", done_queue="Done", retry_delay=0, check=check, **options)(prompt)
    return dispatcher


def test_work_that_does_not_pass_is_a_failed_attempt_and_the_next_is_told(
    prefect_api: str, tmp_path: Path
) -> None:
    program = tmp_path / "check"
    program.write_text(f"#!/bin/sh{CHECK}")
    program.chmod(0o755)
    dispatcher = app(tmp_path, ["true", f"{program} -q"])
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task.id, "Done")
        retry, passed = it.comments(task.id)
        run = it.prefect.ended(task.id)
    failed = f"check failed: {program} -q (exit 3)"
    first, *tail = retry.splitlines()
    assert first == f"Retry 1/1: {failed}. Moving back to source queue for retry."
    assert sorted(tail) == ["1 failed", "a warning"]
    assert passed == f"Checked: true, {program} -q."
    assert run["state_type"] == "COMPLETED"
    (folder,) = tmp_path.glob("root/*/*/work")
    said = (folder / "prompt-2").read_text().splitlines()
    assert (folder / "prompt-1").read_text() == prompt(task.id, "Fix it") == said[0]
    assert said[2] == "The work of the last attempt did not pass its check:"
    assert said[4] == f"    {failed}"
    assert sorted(said[5:]) == ["    1 failed", "    a warning"]


@pytest.mark.nightly
def test_a_run_that_is_cancelled_while_it_is_checked_is_no_success(
    prefect_api: str, tmp_path: Path
) -> None:
    dispatcher = app(tmp_path, ["sh -c 'touch at-work; exec sleep 3600.5'"])
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        wait_until("it is being checked", lambda: list(tmp_path.glob("root/*/*/work/at-work")))
        it.prefect.cancel(it.prefect.run(task.id)["id"])
        run = it.prefect.ended(task.id)
        (comment,) = it.comments(task.id)
    assert run["state_type"] == "CANCELLED"
    assert comment.startswith("Cancelled")
    assert not [p for p in psutil.process_iter(["cmdline"]) if "3600.5" in str(p.info["cmdline"])]


@pytest.mark.nightly
def test_a_check_whose_program_is_missing_costs_no_attempt(
    prefect_api: str, tmp_path: Path
) -> None:
    dispatcher = app(tmp_path, ["missing-program"])
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    with running(dispatcher, prefect_api) as it:
        wait_until("it is said on the card", lambda: it.comments(task.id))
        it.in_queue(task.id, "Todo")
        (comment,) = it.comments(task.id)
    assert "Route 'Todo' is paused: " in comment
    assert "check failed: missing-program (command not found: 'missing-program')" in comment
