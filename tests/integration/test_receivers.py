"""What happens in a real run is told to a program that checks signatures, and by a block."""

from __future__ import annotations

import base64
import json
import shlex
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast, override

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from standardwebhooks import Webhook, WebhookVerificationError

from athanore import AgentDispatcher, MemoryAdapter
from athanore.services.people import notices
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]

SECRET = "whsec_" + base64.b64encode(b"a secret of the receiver").decode()

AGENT = r"""
import json, os, sys, urllib.request
if os.environ["ATHANORE_TASK_NAME"] == "Fail":
    sys.exit("it cannot be done")
if os.environ["ATHANORE_TASK_NAME"] == "Ask":
    urllib.request.urlopen(urllib.request.Request(
        os.environ["ATHANORE_API_URL"] + f"/tasks/{os.environ['ATHANORE_TASK_ID']}/questions",
        json.dumps({"question": "Which colour?"}).encode(),
        {"Content-Type": "application/json",
         "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"]},
    ))
"""


class Receiver:
    """A program that listens: `/signed` verifies, `/block` takes what Prefect's block sends.

    The first delivery that is signed is refused once, as by a program that is not quite up.
    """

    def __init__(self) -> None:
        self.signed: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.block: list[str] = []
        self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(outer.take(self.path, body, dict(self.headers.items())))
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                return

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """Take a delivery; returns the status of the answer."""
        if path == "/block":
            self.block.append(json.loads(body)["said"])
            return 204
        if not self.refused:
            self.refused += 1
            return 503
        try:
            said = cast(dict[str, Any], Webhook(SECRET).verify(body, headers))
        except WebhookVerificationError:
            return 401
        self.ids.append({k.lower(): v for k, v in headers.items()}["webhook-id"])
        self.signed.append(said)
        return 204


@pytest.fixture
def receiver() -> Generator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.http.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.http.shutdown()
    thread.join()
    found.http.server_close()


def test_a_question_a_dead_letter_and_what_is_done_are_told(
    prefect_api: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_NOTIFY_WEBHOOK_URL", f"{receiver.url}/signed")
    monkeypatch.setenv("ATHANORE_NOTIFY_WEBHOOK_SECRET", SECRET)
    block = CustomWebhookNotificationBlock(
        name="team",
        url=f"{receiver.url}/block",
        json_data={"said": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
    )
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
    app = AgentDispatcher(
        shlex.join([sys.executable, "-I", "-S", "-c", AGENT]), name=app_name("told"),
        queue_backend=board, poll_interval=3600, api_port=0, dead_letter_queue="Failed",
        max_retries=0, notify=[block],
    )  # fmt: skip
    app.route("Todo", done_queue="Done")(prompt)
    with running(app, prefect_api) as it:
        told_of = {"variables": {"tags": {"all_": notices.tags(app.name)}}}

        def both_begin() -> bool:
            return len(it.prefect.post("/variables/filter", told_of)) == 2

        wait_until("both channels have begun", both_begin)
        names = ("Ask", "Fail", "Work")
        bodies = [{"queue_name": "Todo", "name": name} for name in names]
        ids = [LOCAL.post(f"{it.api_url}/tasks", json=b, timeout=60).json()["id"] for b in bodies]

        def kinds() -> set[str]:
            return {said["type"].removeprefix("athanore.agent.") for said in receiver.signed}

        wait_until("all three are told", lambda: kinds() >= {"asked", "dead-lettered", "finished"})
        told = {
            said["type"].removeprefix("athanore.agent."): said["data"] for said in receiver.signed
        }
        assert [told[k]["task_ids"] for k in ("asked", "dead-lettered", "finished")] == [
            [task_id] for task_id in ids
        ]
        assert "Which colour?" in told["asked"]["text"]
        assert "exit code 1" in told["dead-lettered"]["text"]
        assert len(set(receiver.ids)) == len(receiver.ids), "each is delivered once"
        assert receiver.refused == 1, "what was refused came again"
        wait_until("the block has told all", lambda: len(receiver.block) >= 3)
        assert any("question: Ask" in s and "Which colour?" in s for s in receiver.block), (
            receiver.block
        )
