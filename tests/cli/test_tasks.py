"""Commands about tasks and routes, against an app at work and a real Prefect."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from pathlib import Path

import pytest

from athanore import MemoryAdapter
from athanore.runtime import apps
from tests.cli.rig import Cli, write_script
from tests.harness import Running, app_name, running
from tests.support import LOCAL, wait_until


@contextlib.contextmanager
def at_work(
    folder: Path,
    prefect_api: str,
    monkeypatch: pytest.MonkeyPatch,
    shell: str,
    *todo: str,
    poll_interval: int = 3600,
) -> Generator[Running]:
    """Run an app of which commands know by its script; its tasks are in `Todo` from the start."""
    script = write_script(folder, app_name("cli"), shell, poll_interval)
    monkeypatch.chdir(folder)
    dispatcher = apps.load(str(script) + ":dispatcher")
    assert not isinstance(dispatcher.board, MemoryAdapter)
    for name in todo:
        dispatcher.board.create_task("Todo", name)
    with running(dispatcher, prefect_api) as it:
        yield it


@pytest.mark.nightly
def test_dispatch_show_and_logs(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work(tmp_path, prefect_api, monkeypatch, "echo hello from $0; sleep 0") as it:
        task = it.board.create_task("Backlog", "Say hello", "To [everybody].").id

        refused = cli("dispatch", task)
        assert refused.code == 1
        assert "'Backlog', which no route watches" in refused.err
        assert "No route watches 'Backlog' (watched: " in cli.ok("explain", task).out
        mistyped = cli("dispatch", task, "--queue", "Tood")
        assert mistyped.code == 2
        assert "Did you mean 'Todo'?" in mistyped.err
        unknown = cli("dispatch", "nope")
        assert unknown.code == 2
        assert f"No task has the id 'nope'. The open tasks are: {task!r}" in unknown.err

        assert "has had no agent run yet" in cli("logs", task).err
        done = cli.ok("dispatch", task, "--queue", "Todo")
        run = it.prefect.runs(task)[0]
        assert f"/runs/flow-run/{run['id']}" in done.out

        followed = cli.ok("logs", task, "--follow")
        assert "hello from Say hello" in followed.out
        assert "Completed: Attempt 1 succeeded; the task is in 'Done'." in followed.out
        lines = [json.loads(line) for line in cli.ok("logs", task, "--json").out.splitlines()]
        assert any("hello from" in line["message"] for line in lines)

        shown = cli.ok("show", task)
        assert "To [everybody]." in shown.out
        fields = cli.ok("show", task, "--json").json
        assert fields["queue_name"] == "Done"
        assert [(r["state"], r["attempt"]) for r in fields["runs"]] == [("Completed", 1)]

        idle = cli("cancel", task)
        assert idle.code == 1
        assert "it is in 'Done'" in idle.err


@pytest.mark.nightly
def test_logs_go_on_through_a_retry(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_MAX_RETRIES", "1")
    tried = tmp_path / "tried"
    shell = f"[ -e '{tried}' ] && exec echo better; touch '{tried}'; echo worse; exit 3"
    with at_work(tmp_path, prefect_api, monkeypatch, shell, "Twice", poll_interval=2) as it:
        (task,) = [t.id for t in it.board.get_ready_tasks(["Todo", "In Progress"])]
        wait_until("it has a run", lambda: it.prefect.runs(task))
        said = cli.ok("logs", task, "--follow").out
        assert said.index("worse") < said.index("Retry 1/1") < said.index("better")
        assert [said.count(end) for end in ("Retry 1/1", "Attempt 2 succeeded")] == [1, 1]


def test_status_while_agents_work_and_wait(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work(tmp_path, prefect_api, monkeypatch, "echo thinking; exec sleep 600", "Long") as it:
        (task,) = [t.id for t in it.board.get_ready_tasks(["Todo", "In Progress"])]
        run = it.prefect.working(task)
        busy = cli("dispatch", task)
        assert busy.code == 1
        assert run["id"] in busy.err

        cli.ok("pause", "Review")
        waiting = it.board.create_task("Review", "Waits").id
        sent = cli.ok("dispatch", waiting)
        assert "athanore resume Review" in sent.err
        again = cli.ok("dispatch", waiting)
        assert "Already waiting" in again.out
        assert len(it.prefect.runs(waiting)) == 1
        why = cli.ok("explain", waiting)
        assert "Route 'Review' is paused." in why.out
        assert "athanore resume Review" in why.out
        why = cli.ok("explain", task, "--json").json
        assert why["reason"].startswith("An agent works on it on worker ")
        assert why["reason"].endswith(": attempt 1 of 1.")
        assert (why["route"], why["queue_name"]) == ("Todo", "In Progress")
        path = f"{it.api_url}/tasks/{task}/explanation"
        assert LOCAL.get(path, timeout=60).json() == why

        seen = cli.ok("status", "--json").json
        routes = {r["queue_name"]: r for r in seen["routes"]}
        assert (seen["working"], seen["limit"]) == (1, 3)
        assert seen["workers"]
        assert routes["Todo"] == {
            "name": "Todo", "queue_name": "Todo", "source": "code", "changed": [], "deployed": True,
            "paused": [], "pause_reason": None,
            "tasks": 0, "waiting": 0, "working": 1, "retrying": 0,
        }  # fmt: skip
        assert routes["Review"]["paused"] == ["polls", "agents"]
        assert (routes["Review"]["tasks"], routes["Review"]["waiting"]) == (1, 1)
        wait_until("its words are shown", lambda: "thinking" in cli.ok("status").out)
        text = cli.ok("status").out
        assert "paused (polls, agents)" in text
        assert "1 of 3 agents at work" in text
        listed = cli.ok("tasks", "--json").json
        assert [(t["id"], t["run"] and t["run"]["route"]) for t in listed] == [
            (waiting, "Review"), (task, "Todo"),
        ]  # fmt: skip

        # The board's change wakes the worker, which may have come as far as any of these.
        nobody = it.board.create_task("Todo", "Next in turn").id
        why = cli.ok("explain", nobody).out
        on_its_way = (
            "The next poll of route 'Todo' finds it.",
            "Its run is due: a worker takes it in a moment.",
            "about to start its agent",
            "An agent works on it",
            "starts as soon as",
        )
        assert any(words in why for words in on_its_way), why
        assert "no agent was at work" in cli.ok("cancel", waiting).out
        assert it.prefect.run(waiting)["state_type"] == "CANCELLED"
        assert it.place(waiting) == "Review"
        assert "being stopped" in cli.ok("cancel", task).out
        assert it.prefect.ended(task)["state_name"] == "Cancelled"
        assert it.comments(task)[-1].startswith("Cancelled (by ")


def test_pausing_leaves_running_agents_alone(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    shell = f"while [ ! -e '{gate}' ]; do sleep 0.1; done"
    with at_work(tmp_path, prefect_api, monkeypatch, shell, "First") as it:
        (first,) = [t.id for t in it.board.get_ready_tasks(["Todo", "In Progress"])]
        it.prefect.working(first)
        cli.ok("pause", "Todo")
        second = it.board.create_task("Todo", "Second").id
        cli.ok("dispatch", second)
        gate.touch()
        assert it.prefect.ended(first)["state_name"] == "Completed"
        assert it.prefect.run(second)["state_type"] == "SCHEDULED"
        assert it.place(second) == "Todo"
        cli.ok("resume", "Todo")
        assert it.prefect.ended(second)["state_name"] == "Completed"
        assert it.place(second) == "Done"


def test_dead_letters_get_a_fresh_start(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = tmp_path / "mended"
    shell = f"[ -e '{mended}' ] && exit 0; echo 'it [is] broken' >&2; exit 3"
    with at_work(tmp_path, prefect_api, monkeypatch, shell, "One", "Two") as it:
        wait_until("both are dead letters", lambda: it.board.get_queue("Failed").task_count == 2)
        one, two = [t.id for t in it.board.get_ready_tasks(["Failed"])]
        it.prefect.ended(one)
        it.prefect.ended(two)
        by_hand = it.board.create_task("Failed", "Put here").id

        letters = {d["task_id"]: d for d in cli.ok("dead-letters", "--json").json}
        assert list(letters) == [one, two, by_hand]
        assert letters[one]["reason"] == "exit code 3"
        assert letters[one]["last_output"].strip() == "it [is] broken"
        assert (letters[one]["attempts"], letters[one]["route"]) == (1, "Todo")
        assert it.prefect.run(one)["id"] in letters[one]["run_url"]
        assert letters[by_hand]["run_id"] is None
        why = cli.ok("explain", one).out
        assert "It was given up: exit code 3." in why
        assert f"athanore requeue {one}" in why
        assert "it [is] broken" in cli.ok("dead-letters").out
        assert len(cli.ok("status", "--json").json["dead_letters"]) == 3

        mended.touch()
        cli.ok("requeue", one)
        it.in_queue(one, "Done")
        newest = it.prefect.ended(one)
        assert (newest["state_name"], newest["run_count"]) == ("Completed", 1)
        assert len(it.prefect.runs(one)) == 2
        assert any(c.startswith("Requeued by ") for c in it.comments(one))
        refused = cli("requeue", one)
        assert refused.code == 1
        assert "is no dead letter" in refused.err

        cli.ok("requeue", "--all")
        it.in_queue(two, "Done")
        it.in_queue(by_hand, "Done")
        assert "no dead letters" in cli.ok("requeue", "--all").out


def test_routes_need_no_prefect(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(tmp_path, "offline")
    monkeypatch.chdir(tmp_path)
    found = Cli("http://127.0.0.1:1/api", capsys).ok("routes", "--json").json
    assert [(r["queue_name"], r["priority"], r["timeout"]) for r in found] == [
        ("Review", 1, 60.0),
        ("Todo", None, None),
    ]


def test_an_app_that_is_not_deployed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(tmp_path, app_name("cli"))
    monkeypatch.chdir(tmp_path)
    assert "not deployed" in cli.ok("status").out
    output = cli("pause", "Todo")
    assert output.code == 1
    assert "run `athanore deploy` first" in output.err
