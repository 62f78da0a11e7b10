"""`output=` and `then`: an agent hands in a result, and the task goes where that says."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from athanore import AgentDispatcher, MemoryAdapter, Task
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

AGENT = r"""
import json, os, pathlib, sys, urllib.error, urllib.request
notes, attempt = pathlib.Path(os.environ["NOTES"]), os.environ["ATHANORE_ATTEMPT"]
queue = os.environ["ATHANORE_QUEUE"]
(notes / f"{queue}-{attempt}").write_text(sys.argv[1])

def hand_in(result):
    request = urllib.request.Request(
        f"{os.environ['ATHANORE_API_URL']}/tasks/{os.environ['ATHANORE_TASK_ID']}/result",
        json.dumps({"result": result}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"],
        },
    )
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        (notes / "refused").write_bytes(error.read())
        return error.code

if queue == "Review" and attempt == "1":
    sys.exit()
assert hand_in({"verdict": "perhaps"}) == 422
assert hand_in({"verdict": "reject"}) == 200
assert hand_in({"verdict": "approve"}) == 200
"""


class Verdict(BaseModel):
    """What the reviewer says."""

    verdict: Literal["approve", "reject"]


def test_a_result_is_asked_for_checked_and_decides_where_the_task_goes(
    prefect_api: str, tmp_path: Path
) -> None:
    board = MemoryAdapter(["Review", "Audit", "In Progress", "Done", "Todo"])
    reviewed = board.create_task("Review", "Fix it")
    audited = board.create_task("Audit", "Look at it")
    mended = tmp_path / "mended"
    dispatcher = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
        name=app_name("output"),
        queue_backend=board,
        poll_interval=3600,
        api_port=0,
        max_retries=1,
    )
    env = {"NOTES": str(tmp_path)}
    for queue in ("Review", "Audit"):
        dispatcher.route(queue, output=Verdict, retry_delay=0, env=env)(prompt)

    @dispatcher.then("Review")
    def decide(task: Task, result: Verdict) -> str:
        return {"approve": "Done", "reject": "Todo"}[result.verdict]

    @dispatcher.then("Audit")
    async def fail(task: Task, result: Verdict) -> str:
        return "Done" if mended.exists() else str(1 / 0)

    assert decide(reviewed, Verdict(verdict="reject")) == "Todo", "it stays callable"
    with running(dispatcher, prefect_api) as it:
        it.in_queue(reviewed.id, "Done")
        wait_until("the other is held", lambda: it.comments(audited.id))
        first, second = it.comments(reviewed.id)
        (held,) = it.comments(audited.id)
        assert it.place(audited.id) == "In Progress"
        result = LOCAL.get(f"{it.api_url}/tasks/{reviewed.id}/result", timeout=60).json()["result"]
        mended.touch()

        def resumed() -> bool:
            LOCAL.post(f"{it.api_url}/routes/Audit/resume", json={}, timeout=60).raise_for_status()
            return it.place(audited.id) == "Done"

        wait_until("it goes on", resumed)
    assert first.startswith("Retry 1/1: nothing happened: no result was handed in. ")
    assert (second, result) == ('Result: {"verdict": "approve"}', {"verdict": "approve"})
    assert "no result was handed in" in (tmp_path / "Review-2").read_text()
    assert '"enum": ["approve", "reject"]' in (tmp_path / "Review-1").read_text()
    refused = (tmp_path / "refused").read_text()
    assert '"field":"result.verdict"' in refused and "'approve' or 'reject'" in refused
    assert "fail(task, result) failed: ZeroDivisionError: division by zero" in held
    assert not (tmp_path / "Audit-2").exists(), "its agent was started once"
