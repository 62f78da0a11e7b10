"""A task that the board does not let anybody claim is held and shown, not tried with each poll."""

from __future__ import annotations

from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter, Task
from athanore.errors import BoardError
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]


class Particular(MemoryAdapter):
    """A board that takes no task without a label, and counts what it is asked to take."""

    def __init__(self) -> None:
        super().__init__(["Todo", "In Progress", "Done"])
        self.asked: list[str] = []

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        self.asked.append(task_id)
        if not self.get_task(task_id).labels:
            raise BoardError("The field 'Team' must be filled in")
        queues = {"source_queue": source_queue, "target_queue": target_queue}
        return super().claim_task(task_id, **queues, assignee=assignee)


def test_a_task_whose_claim_is_refused_twice_is_held_until_it_changes(prefect_api: str) -> None:
    board = Particular()
    app = AgentDispatcher(
        "true", name=app_name("refused"), queue_backend=board, api_port=0, poll_interval=1
    )
    app.route("Todo", done_queue="Done")(prompt)
    task_id = board.create_task("Todo", "without a label").id
    with running(app, prefect_api) as it:

        def status() -> dict[str, Any]:
            return LOCAL.get(f"{it.api_url}/status", timeout=120).json()

        wait_until("it needs a person", lambda: status()["needs_person"])
        (matter,) = status()["needs_person"]
        assert (matter["kind"], matter["task_id"], matter["route"]) == ("held", task_id, "Todo")
        assert matter["says"].startswith(
            f"Task '{task_id}' is held: the board has refused 2 times that it is claimed as it is "
            "(The field 'Team' must be filled in)."
        )
        assert matter["mend"].startswith("Mend what the board refuses")

        def starts() -> int:
            return it.prefect.run(task_id)["labels"]["athanore.start"]

        before = starts()
        wait_until("it was looked at again some times", lambda: starts() > before + 2)
        assert board.asked == [task_id] * 2
        assert board.get_task(task_id).queue_name == "Todo"
        board.update_task(task_id, labels=("platform",))
        it.in_queue(task_id, "Done")
        assert board.asked == [task_id] * 3
        wait_until("nothing needs a person", lambda: not status()["needs_person"])

        def told() -> list[str]:
            ids = {"flow_run_id": {"any_": [it.prefect.run(task_id)["id"]]}}
            wanted = {"logs": {**ids, "level": {"ge_": 20}}, "limit": 200}
            lines = [line["message"] for line in it.prefect.post("/logs/filter", wanted)]
            return lines if any(line.startswith("Claimed ") for line in lines) else []

        waits = [line for line in wait_until("its log is there", told) if "Waiting: " in line]
        assert len(waits) == 2, "what has not changed is not said again"
