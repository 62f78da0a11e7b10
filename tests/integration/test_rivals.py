"""Two Prefects on one queue are noticed where the board can tell."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from tests.harness import app_name, prompt, running
from tests.support import wait_until


@pytest.mark.nightly
def test_a_poll_says_who_else_watches_its_queue(prefect_api: str, tmp_path: Path) -> None:
    board = JsonFileAdapter(tmp_path / "board.json")
    app = AgentDispatcher(
        "true", name=app_name("rival"), queue_backend=board, api_port=0, poll_interval=3600
    )
    app.route("Todo")(prompt)
    board.prepare(["Todo", "In Progress"])
    board.watched_by("Todo", "another", "the app 'x' on http://far:4200/api", timedelta(hours=1))
    with running(app, prefect_api) as it:

        def said() -> str | None:
            ended = [r for r in it.prefect.runs(kind="poll") if r["state_type"] == "COMPLETED"]
            return ended[0]["state"]["message"] if ended else None

        message = wait_until("a poll has ended", said)
        others = board.watched_by("Todo", "another", "", timedelta(hours=1))
    assert message == "0 ready; also watched by the app 'x' on http://far:4200/api"
    assert others == [f"the app {app.name!r} on the Prefect at {prefect_api}"]
    left = board.watched_by("Todo", "another", "", timedelta(hours=1))
    assert left == [], "who stops takes its note back"
