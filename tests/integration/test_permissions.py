"""What an agent asks its client for is asked of people, and its time stands still meanwhile."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("acp")

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.acp import AcpAgentAdapter
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

AGENT = Path(__file__).parent.parent / "agents" / "acp_agent.py"


@pytest.mark.nightly
@pytest.mark.smoke
@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_a_permission_is_a_question_to_people(prefect_api: str, answer: str) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
    command = shlex.join([sys.executable, str(AGENT), "asks", "fake-agent"])
    app = AgentDispatcher(
        name=app_name("permission"), queue_backend=board, poll_interval=3600, api_port=0,
        default_agent=AcpAgentAdapter(command, permissions="ask"), dead_letter_queue="Failed",
    )  # fmt: skip
    app.route("Todo", done_queue="Done", timeout=24, stall_timeout=12)(prompt)
    task = board.create_task("Todo", "Fix it").id
    with running(app, prefect_api) as it:

        def asked() -> list[dict[str, Any]]:
            return LOCAL.get(f"{it.api_url}/questions", timeout=120).json()

        wait_until("it asks", asked)
        begun = monotonic()
        wait_until("its time would be up", lambda: monotonic() - begun > 25)
        (question,) = asked()
        assert question["question"] == "May the agent use this tool? rm -rf build"
        assert question["choices"] == ["allow", "deny"]
        url = f"{it.api_url}/questions/{question['id']}/answer"
        LOCAL.post(url, json={"answer": answer, "by": "eve"}, timeout=120).raise_for_status()
        it.in_queue(task, "Done" if answer == "allow" else "Failed")
        assert answer == "allow" or "permission denied: rm -rf build" in it.comments(task)[-1]
        run = it.prefect.ended(task)
    assert it.prefect.labels(run["id"])["athanore.start"] == 1
