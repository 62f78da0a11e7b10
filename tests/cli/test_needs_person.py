"""What needs a person is the same list wherever people look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from athanore import JsonFileAdapter, names
from tests.cli.rig import Cli
from tests.cli.test_tasks import at_work
from tests.support import LOCAL, wait_until


def test_what_needs_a_person_is_told_wherever_people_look(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work(tmp_path, prefect_api, monkeypatch, "exec sleep 600", "Cancelled") as it:
        (task,) = [t.id for t in it.board.get_ready_tasks(["Todo", "In Progress"])]
        it.prefect.working(task)
        cli.ok("cancel", task)
        it.prefect.ended(task)

        assert isinstance(it.board, JsonFileAdapter)
        orphan = it.board.create_task("In Progress", "Orphan").id
        it.board.update_task(orphan, assignees=[str(it.board.user)])
        board = json.loads(it.board.path.read_text())
        board["queues"]["Todo"].append({"name": "No id"})
        it.board.path.write_text(json.dumps(board))
        cli.ok("pause", "Review")
        name = names.deployment_name(it.app.name, "Review")
        poll = it.prefect.get(f"/deployments/name/{names.POLL_FLOW}/{name}")
        it.prefect.post(f"/deployments/{poll['id']}/resume_deployment", {})

        expected = {
            "cancelled": f"athanore requeue {task}",
            "orphan": f"athanore requeue {orphan} --queue QUEUE",
            "broken-entry": "Mend the card on the board; it is taken up at the next poll.",
            "half-paused": "athanore resume Review (or athanore pause Review)",
        }

        def told(path: str) -> dict[str, str]:
            found: list[dict[str, str]] | None
            found = LOCAL.get(f"{it.api_url}{path}", timeout=60).json()["needs_person"]
            return {m["kind"]: m["mend"] for m in found or []}

        wait_until("the page tells", lambda: told("/board") == expected)
        wait_until("the API tells", lambda: told("/status") == expected)
        seen = cli.ok("status", "--json").json["needs_person"]
        assert {m["kind"]: m["mend"] for m in seen} == expected
        metrics = LOCAL.get(f"{it.api_url}/metrics", timeout=60).text
        for kind in expected:
            assert f'athanore_needs_person{{kind="{kind}"}} 1.0' in metrics
        assert 'athanore_needs_person{kind="paused-itself"} 0.0' in metrics
        text = cli.ok("status").out
        assert "4 things need a person:" in text
        assert f"athanore requeue {task}" in text
        doctor = {
            f["mend"] for f in cli.ok("doctor", "--json").json if f["what"] == "needs a person"
        }
        assert doctor == {m for k, m in expected.items() if k != "broken-entry"}

        cards = {c["id"]: c for c in LOCAL.get(f"{it.api_url}/board", timeout=60).json()["cards"]}
        assert "was cancelled (by " in cards[task]["needs_person"]
        cli.ok("resume", "Review")
        cli.ok("requeue", orphan, "--queue", "Review")
        left = {m["kind"] for m in cli.ok("status", "--json").json["needs_person"]}
        assert left == {"cancelled", "broken-entry"}
