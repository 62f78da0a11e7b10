"""A function says which agent works on a task: through a real Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, Task
from athanore.agent_adapters.base import AgentJob, Meter
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]


class Named:
    """An agent that fails its first attempts at a task, and tells of each at once."""

    def __init__(
        self, name: str, fails: int = 0, failing: Callable[[str], None] | None = None
    ) -> None:
        self.meter = Meter(name, model=f"{name}-model")
        self.had: list[str] = []
        self._fails = fails
        self._failing = failing

    async def run(self, job: AgentJob) -> AgentResult:
        self.had.append(job.task.id)
        if job.attempt <= self._fails:
            if self._failing is not None:
                self._failing(job.task.id)
            return AgentResult(AgentOutcome.FAILED, "too hard")
        return AgentResult(AgentOutcome.SUCCEEDED)


def test_each_start_has_the_agent_for_its_task(prefect_api: str) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])

    def label(task_id: str) -> None:
        if task_id == failing:
            board.update_task(task_id, labels=("hard",))

    weak, strong = Named("weak", 1, label), Named("strong")
    app = AgentDispatcher(
        name=app_name("by-task"), queue_backend=board, api_port=0, poll_interval=1, max_retries=1
    )

    def choose(task: Task) -> Named:
        if "broken" in task.labels:
            raise KeyError("size")
        return strong if "hard" in task.labels else weak

    app.route("Todo", done_queue="Done", agent=choose, retry_delay=2)(prompt)
    failing, held, easy = (board.create_task("Todo", n).id for n in ("failing", "held", "easy"))
    board.update_task(held, labels=("broken",))
    with running(app, prefect_api) as it:
        it.in_queue(failing, "Done")
        it.in_queue(easy, "Done")
        assert (weak.had.count(failing), strong.had) == (1, [failing])
        record = it.prefect.ended(failing)["labels"]
        told = [record[f"athanore.used.{start}.model"] for start in (1, 2)]
        assert told == ["weak-model", "strong-model"]

        def told_of(path: str) -> dict[str, Any]:
            return LOCAL.get(f"{it.api_url}{path}", timeout=120).json()

        def explained() -> str:
            return told_of(f"/tasks/{held}/explanation")["reason"]

        why = f"Task '{held}' is held: route 'Todo' has no agent for it (KeyError: 'size')."
        wait_until("it is said why it is held", lambda: explained().startswith(why))
        seen: list[dict[str, Any]] = []

        def is_told() -> bool:  # but for the moment in which the run looks again
            seen.extend(told_of("/status")["needs_person"])
            return bool(seen)

        wait_until("it needs a person", is_told)
        (matter,) = seen
        assert (matter["kind"], matter["task_id"], matter["route"]) == ("held", held, "Todo")
        assert matter["says"].startswith(f"{why} Mend the function of agent=")
        assert board.get_task(held).queue_name == "Todo"
        assert told_of("/status")["paused_routes"] == []
        board.update_task(held, labels=())
        it.in_queue(held, "Done")
        wait_until("nothing needs a person", lambda: not told_of("/status")["needs_person"])
        assert weak.had.count(held) == 2, "no attempt was spent while it was held"
        (by_model,) = [r for r in told_of("/costs?by=model")["rows"] if r["key"] == "weak-model"]
        assert by_model["tasks"] == 3


class Reads(MemoryAdapter):
    """Counts how often a task is read before its claim."""

    def __init__(self, queues: list[str]) -> None:
        super().__init__(queues)
        self.reads, self.before_claims = Counter[str](), list[int]()

    def get_task(self, task_id: str) -> Task:
        self.reads[task_id] += 1
        return super().get_task(task_id)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        self.before_claims.append(self.reads[task_id])
        queues = {"source_queue": source_queue, "target_queue": target_queue}
        return super().claim_task(task_id, **queues, assignee=assignee)


def test_a_start_reads_its_task_once_for_label_agent_and_owner(prefect_api: str) -> None:
    board, agent = Reads(["Todo", "In Progress", "Done"]), Named("any")
    app = AgentDispatcher(
        name=app_name("read-once"), queue_backend=board, api_port=0, poll_interval=60,
        default_agent=lambda _: agent,
    )  # fmt: skip
    app.route("Todo", done_queue="Done", labels=["big"], label_limits={"big": 1})(prompt)
    task_id = board.create_task("Todo", "one").id
    board.update_task(task_id, labels=("big",))
    board.reads.clear()
    with running(app, prefect_api) as it:
        # Not by its queue: that would be a reading of the task, too.
        wait_until("its agent has worked", lambda: agent.had)
        it.prefect.ended(task_id)
    assert board.before_claims == [1]
