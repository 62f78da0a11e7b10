"""`athanore undeploy`: what Prefect has of an app is listed, asked about, and gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from tests.cli.conftest import cli
from tests.cli.rig import Cli
from tests.harness import Prefect, app_name

__all__ = ["cli"]

RUN = """
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher("true", name={name!r}, queue_backend=JsonFileAdapter("board.json"))
dispatcher.every("0 6 * * 1", queue="Todo", name="Weekly")

@dispatcher.route("Todo")
def todo(task_id, task_name):
    return task_name

@dispatcher.route("Review")
def review(task_id, task_name):
    return task_name
"""


def test_an_app_is_taken_out_of_prefect(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    name = app_name("gone")
    prefect = Prefect(prefect_api, name)
    (tmp_path / "run.py").write_text(RUN.format(name=name))
    board = JsonFileAdapter("board.json")
    board.prepare(["Todo", "Review", "In Progress"])
    assert "nothing of an app" in cli.ok("undeploy").out
    cli.ok("deploy")
    waits, works = (board.create_task("Todo", title).id for title in ("Waits", "Works"))
    cli.ok("dispatch", waits)
    cli.ok("dispatch", works)
    taken = {"type": "PENDING", "message": "Taken by worker w (elsewhere.example:1:1)"}
    for state in (taken, {"type": "RUNNING"}):
        prefect.post(f"/flow_runs/{prefect.run(works)['id']}/set_state", {"state": state})

    busy = cli("undeploy", "--yes")
    assert busy.code == 1 and "'Works'" in busy.err and "--force" in busy.err
    asked = cli("undeploy", "--force")
    assert asked.code == 2 and "say --yes" in asked.err
    assert "route 'Todo': its polls, its agents, its work queue, 1 run waiting" in asked.out
    assert f"work pool '{name}-agents'" in asked.out and "schedule 'Weekly'" in asked.out
    assert deployments(prefect), "nothing was removed"

    done = cli.ok("undeploy", "--force", "--yes").out
    for removed in ("route 'Todo'", "route 'Review'", "schedule 'Weekly'", f"pool '{name}-polls'"):
        assert f"removed {removed}" in done or f"removed work {removed}" in done
    assert not deployments(prefect)
    assert {r["state_name"] for r in prefect.runs()} == {"Route removed"}
    assert {t.id for t in board.get_ready_tasks(["Todo"])} == {waits, works}
    assert "nothing of an app" in cli.ok("undeploy", "--yes").out

    cli.ok("deploy")
    (tmp_path / "run.py").unlink()
    assert cli("undeploy", "--yes").code == 2
    cli.ok("undeploy", "--name", name, "--yes")
    assert not deployments(prefect)


def deployments(prefect: Prefect) -> list[object]:
    """What Prefect has of the app."""
    tags = {"deployments": {"tags": {"all_": [f"app:{prefect.app}"]}}}
    return prefect.post("/deployments/filter", tags)
