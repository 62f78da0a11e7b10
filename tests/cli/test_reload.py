"""`athanore reload`: a changed app is taken over while its agents work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from athanore.runtime import apps
from tests.cli.rig import Cli
from tests.harness import app_name, running
from tests.support import LOCAL, wait_until

RUN = """
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "sh", name={name!r}, queue_backend=JsonFileAdapter("board.json"), poll_interval=3600,
    api_port=0, shutdown_grace=1, max_retries=0,
)

@dispatcher.route("Todo", args=["-c", "until test -e go; do sleep 0.1; done"], done_queue="Done")
def todo(task_id, task_name):
    return "the first"

@dispatcher.route("Review", args=["-c", "exit 0"], done_queue="Done")
def review(task_id, task_name):
    return "review"
"""


@pytest.mark.smoke
def test_a_changed_app_is_taken_over_while_an_agent_works(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", "the-operators-key")
    monkeypatch.chdir(tmp_path)
    board = JsonFileAdapter("board.json")
    board.prepare(["Todo", "In Progress", "Review", "Done", "Next"])
    name = app_name("reload")
    script = tmp_path / f"{name}.py"
    script.write_text(RUN.format(name=name))
    monkeypatch.setenv("ATHANORE_APP", f"{name}.py:dispatcher")
    dispatcher = apps.load(f"{name}.py:dispatcher")
    at_work = board.create_task("Todo", "At work").id

    def place(task_id: str, queue: str) -> Callable[[], bool]:
        return lambda: board.get_task(task_id).queue_name == queue

    with running(dispatcher, prefect_api) as it:
        wait_until("an agent works", place(at_work, "In Progress"))
        first = it.prefect.working(at_work)

        script.write_text(RUN.format(name=name).replace("exit 0", 'exit "'))
        broken = cli("reload")
        assert broken.code == 1
        assert "is not taken over: " in broken.err and "SyntaxError" in broken.err
        assert it.dispatcher.routes["Todo"].retry.max_retries == 0

        later = RUN.format(name=name).replace("max_retries=0", "max_retries=2, notify=['a/b']")
        later = later[: later.index('@dispatcher.route("Review"')]
        later += '@dispatcher.route("Next", args=["-c", "exit 0"], done_queue="Done")\n'
        later += "def following(task_id, task_name):\n    return 'next'\n"
        script.write_text(later)
        done = cli.ok("reload")
        assert "route 'Todo': max_retries 0 -> 2" in done.out
        assert "route 'Next' is new" in done.out
        assert "notify nobody -> a/b" in done.out
        assert "route 'Review' is missing: held until a deploy removes it" in done.out
        assert it.prefect.working(at_work)["id"] == first["id"], "its agent works on"

        new, held = board.create_task("Next", "New").id, board.create_task("Review", "Held").id
        cli.ok("dispatch", new)
        wait_until("the new route's agent has worked", place(new, "Done"))
        cli.ok("dispatch", held)
        why = cli.ok("explain", held).out
        assert "Route 'Review' is not in" in why and "Put it back and reload" in why
        (tmp_path / "go").touch()
        wait_until("the first agent has ended", place(at_work, "Done"))
        assert len(it.prefect.runs(at_work)) == 1

        script.write_text(RUN.format(name=name))
        assert "route 'Review' is back, and goes on" in cli.ok("reload").out
        wait_until("the held task has its agent", place(held, "Done"))

        refused = LOCAL.post(f"{it.api_url}/reload", json={}, timeout=60)
        assert refused.status_code == 401


def test_without_an_app_that_runs_it_says_so(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATHANORE_APP", "run.py:dispatcher")
    (tmp_path / "run.py").write_text("")
    assert "does not run on this machine" in cli("reload").err
