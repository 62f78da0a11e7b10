"""What Prefect's UI shows of a run and of a route: artifacts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.scripted import Emit, Fail, Say, ScriptedAgent
from athanore.flows.reports import table_key
from athanore.models import AgentEvent, EventKind
from tests.harness import Running, app_name, prompt, running
from tests.support import wait_until


def artifacts(app: Running, **wanted: Any) -> list[dict[str, Any]]:
    return app.prefect.post("/artifacts/filter", {"artifacts": wanted})


def test_a_run_has_one_page_over_all_its_attempts(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", "secret-of-the-board")
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    cost = AgentEvent(EventKind.COST, {"cost_usd": 0.25, "input_tokens": 1200, "session_id": "s-1"})
    app = AgentDispatcher(name=app_name("report"), queue_backend=board, poll_interval=1, api_port=0)
    app.route(
        "Todo",
        agent=ScriptedAgent(
            [Say("``` secret-of-the-board"), Fail("exit | code 3")], [Say("``` well"), Emit(cost)]
        ),
        max_retries=1, retry_delay=0, done_queue="Done",
    )(prompt)  # fmt: skip
    with running(app, prefect_api) as it:
        task = board.create_task("Todo", "Fix *it*", "It is secret-of-the-board.")
        run = it.prefect.ended(task.id)

        def page() -> dict[str, Any] | None:
            found = artifacts(it, flow_run_id={"any_": [run["id"]]}, type={"any_": ["markdown"]})
            assert len(found) <= 1
            return found[0] if found and "cost usd" in found[0]["data"] else None

        made = wait_until("the page is there", page)
        assert made is not None
        text = made["data"]
        assert "# Fix \\*it\\*" in text
        assert f"{it.api_url}/#task/{task.id}" in text
        first, second = [line for line in text.splitlines() if line.startswith(("| 1 ", "| 2 "))]
        assert "exit \\| code 3" in first and first.endswith(" s |")
        assert "succeeded" in second
        assert "0.25" in text and "1200" in text
        assert "| session id | s-1 |" in text
        assert f"Task `{task.id}` from **Todo** " in text
        assert f"{task.id}: Fix *it*" in text
        assert "secret-of-the-board" not in json.dumps(made)

        (table,) = artifacts(it, key={"any_": [table_key(app.name, "Todo")]})
        ((told, says),) = [(r["task"], r["says"]) for r in json.loads(table["data"])]
        assert told == task.id
        assert re.search("a worker takes it|about to start its agent|works on it", says), says


def test_the_keys_of_tables_are_legal_and_never_the_same() -> None:
    assert table_key("a", "Größe 50%/x").startswith("route-gr-e-50-x-")
    assert table_key("a", "To do") != table_key("a", "to-do")
