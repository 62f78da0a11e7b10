"""A route that is made over HTTP, with its agents at work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.runtime.registry import registry
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until

SECRET = "hunter2-hunter2"
AGENT = """
import os, sys, time
gate = os.environ.get("GATE")
while gate and not os.path.exists(gate):
    time.sleep(0.05)
print("I was told:", sys.argv[1], "and know", os.environ.get("HINT"))
if "fail" in sys.argv[1]:
    print("cannot log in with " + ("hunter2-" * 2)[:15], file=sys.stderr)
    sys.exit(3)
"""


def app(folder: Path, name: str, program: str = "", done_queue: str = "Triage") -> AgentDispatcher:
    board = JsonFileAdapter(folder / "board.json")
    board.prepare(["Todo", "In Progress", "Triage", "Done", "Failed"])
    dispatcher = AgentDispatcher(
        name=name,
        command=sys.executable,
        queue_backend=board,
        poll_interval=5,
        api_port=0,
        enable_queue_management=True,
    )
    dispatcher.route("Todo", args=["-u", "-c", program], done_queue=done_queue)(prompt)
    return dispatcher


def call(it: Running, method: str, path: str, body: Any = None) -> Any:
    answer = LOCAL.request(method, it.api_url + path, json=body, timeout=150)
    assert answer.is_success, answer.text
    return answer.json()


def create(it: Running, queue: str, name: str) -> str:
    body = {"queue_name": queue, "name": name, "description": ""}
    return str(call(it, "POST", "/tasks", body)["id"])


def said(it: Running, task_id: str) -> str:
    """What the agent of a task has logged in Prefect."""
    body = {"logs": {"flow_run_id": {"any_": [r["id"] for r in it.prefect.runs(task_id)]}}}
    return "\n".join(line["message"] for line in it.prefect.post("/logs/filter", body))


@pytest.mark.timeout(900)
@pytest.mark.smoke
def test_it_works_like_any_other(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_TEST_PASSWORD", SECRET)
    name, gate = app_name("live"), tmp_path / "gate"
    route = {
        "queue_name": "Triage",
        "prompt": "Sort {{ task.name }} (attempt {{ attempt }})",
        "args": ["-c", AGENT],
        "env": {"HINT": "all"},
        "done_queue": "Done",
        "dead_letter_queue": "Failed",
        "poll_interval": 3600,
    }
    with running(app(tmp_path, name), prefect_api, keep=True) as it:
        call(it, "POST", "/routes", route)
        # Created in the queue, or handed on to it by the end of another run: at once.
        made, handed_on = create(it, "Triage", "a crash"), create(it, "Todo", "a wish")
        it.in_queue(made, "Done")
        it.in_queue(handed_on, "Done")
        wait_until(
            "the agent's words are in the log",
            lambda: "I was told: Sort a crash (attempt 1) and know all" in said(it, made),
        )
    # A new start: the route is still there, and its changes reach what waits already.
    with running(app(tmp_path, name), prefect_api) as it:
        # The polls of the first start are still in Prefect, so that one tells nothing.
        known = it.dispatcher
        wait_until("it is up", lambda: any(a.dispatcher is known for a in registry.all()))
        # Until the task API is there the page's own server answers 503 on its socket.
        wait_until("it answers", lambda: LOCAL.get(f"{it.api_url}/routes", timeout=120).is_success)
        assert call(it, "GET", "/routes/Triage")["prompt"] == route["prompt"]
        call(it, "PATCH", "/routes/Triage", {"max_concurrent": 1, "env": {"GATE": str(gate)}})
        at_work = create(it, "Triage", "at work")
        it.in_queue(at_work, "In Progress")
        waiting = create(it, "Triage", "to fail")
        changes = {"prompt": "Look at {{ task.name }}", "max_retries": 1, "retry_delay": 0}
        call(it, "PATCH", "/routes/Triage", changes)
        call(it, "PATCH", "/routes/Triage", {"done_queue": "Todo", "env": {}})
        gate.touch()
        it.prefect.ended(at_work)
        wait_until("it is concluded as the route says now", lambda: it.place(at_work) != "Triage")
        # Todo hands it back to Triage: without this it would go round, and be at work at the end.
        call(it, "PATCH", "/routes/Triage", {"done_queue": "Done"})
        it.in_queue(at_work, "Done")
        it.prefect.ended(at_work)
        it.in_queue(waiting, "Failed")
        wait_until("the words are there", lambda: "Look at to fail" in said(it, waiting))
        assert "Sort at work" in said(it, at_work), "a running agent is left alone"
        retry, dead = it.comments(waiting)
        assert retry.startswith("Retry 1/1: exit code 3")
        assert "cannot log in with [redacted]" in retry
        assert dead.startswith("Max retries (1) exhausted. Moving to dead-letter queue.")
        assert SECRET not in said(it, waiting)
        it.prefect.ended(waiting)
        assert call(it, "DELETE", "/routes/Triage")["removed"] is True
        stays = create(it, "Triage", "nobody comes")
        assert it.prefect.runs(stays) == []
        assert dead_letter_events(it, waiting) == ["Failed"]
        assert os.environ["PREFECT_TEST_PASSWORD"] == SECRET


def dead_letter_events(it: Running, task_id: str) -> list[str]:
    """Where the events of a task say that it was put."""

    def look() -> list[dict[str, Any]]:
        query = {
            "event": {"name": ["athanore.agent.dead-lettered"]},
            "resource": {"id": [f"athanore.task.{it.dispatcher.name}.{task_id}"]},
        }
        return it.prefect.post("/events/filter", {"filter": query})["events"]

    return [e["payload"]["queue"] for e in wait_until("the event is there", look)]


@pytest.mark.nightly
def test_a_chatty_agent_is_coalesced(prefect_api: str, tmp_path: Path) -> None:
    """Ten batches of 300 lines, a third of a second apart: nothing is lost, and events are few."""
    program = (
        "import time\n"
        "for batch in range(10):\n"
        "    for n in range(300): print(f'line {batch * 300 + n:05} ' + 'x' * 80)\n"
        "    time.sleep(0.3)\n"
    )
    dispatcher = app(tmp_path, app_name("chatty"), program, "Done")
    with running(dispatcher, prefect_api) as it:
        task_id = create(it, "Todo", "talk")
        it.in_queue(task_id, "Done", 120)

        def output() -> list[dict[str, Any]] | None:
            query = {
                "event": {"name": ["athanore.agent.output"]},
                "resource": {"id": [f"athanore.task.{it.dispatcher.name}.{task_id}"]},
            }
            page = it.prefect.post("/events/filter", {"filter": query, "limit": 50})
            events = list(page["events"])
            while page["next_page"]:
                page = LOCAL.get(page["next_page"], timeout=120).json()
                events += page["events"]
            lines = sum(len(e["payload"]["lines"]) for e in events)
            return events if lines >= 3000 else None

        events = wait_until("all lines are in Prefect's events", output)
        assert events is not None
        ordered = sorted(events, key=lambda e: e["payload"]["seq"])
        lines = [line["text"][:10] for e in ordered for line in e["payload"]["lines"]]
        assert lines == [f"line {n:05}" for n in range(3000)]
        assert len(events) < 300, "ten lines or more to an event"
