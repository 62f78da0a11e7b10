"""Success without progress: a task that comes back again and again is given up at last."""

from __future__ import annotations

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running
from tests.support import wait_until

ROUNDS = 3
QUEUES = ["Todo", "Review", "In Progress", "Done", "Failed"]


class Mover:
    """An agent that puts its task somewhere and says that all is well, or that nothing is."""

    def __init__(self, board: MemoryAdapter, target: str | None, *, succeeds: bool = True) -> None:
        self.board = board
        self.target = target
        self.succeeds = succeeds
        self.starts = 0

    async def run(self, job: AgentJob) -> AgentResult:
        self.starts += 1
        if self.target is not None:
            self.board.move_task(job.task.id, self.target)
        if self.succeeds:
            return AgentResult(AgentOutcome.SUCCEEDED)
        return AgentResult(AgentOutcome.FAILED, f"exit code {self.starts}")


def made(board: MemoryAdapter) -> AgentDispatcher:
    return AgentDispatcher(name=app_name("round"), queue_backend=board, api_port=0, poll_interval=2)


def test_an_agent_that_puts_its_task_back_is_not_started_for_ever(prefect_api: str) -> None:
    board = MemoryAdapter(QUEUES)
    task_id = board.create_task("Todo", "Walk in a circle").id
    agent = Mover(board, "Todo")
    dispatcher = made(board)
    dispatcher.route("Todo", agent=agent, max_rounds=ROUNDS, dead_letter_queue="Failed")(prompt)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        assert agent.starts == ROUNDS
        (comment,) = it.comments(task_id)
        assert comment.startswith("Agents have been started for this task in 'Todo' 3 times")
        assert comment.endswith("Moving to dead-letter queue.")
        run = it.prefect.ended(task_id)
        assert (run["state_type"], run["state_name"]) == ("FAILED", "Goes round")
        # a person who puts it back has seen what happened: it may go round once more
        board.move_task(task_id, "Todo")
        wait_until("it was given up again", lambda: len(it.comments(task_id)) == 2)
        it.in_queue(task_id, "Failed")
        assert agent.starts == 2 * ROUNDS


@pytest.mark.parametrize("dead_letters", [None, "Review"])
@pytest.mark.nightly
def test_routes_that_hand_a_task_to_each_other_do_not_do_so_for_ever(
    prefect_api: str, dead_letters: str | None
) -> None:
    """By success, or by a dead-letter queue that the other one watches."""
    board = MemoryAdapter(QUEUES)
    task_id = board.create_task("Todo", "Walk in a circle").id
    first = Mover(board, None, succeeds=dead_letters is None)
    second = Mover(board, None)
    dispatcher = made(board)
    dispatcher.route(
        "Todo", agent=first, max_rounds=ROUNDS, dead_letter_queue=dead_letters,
        done_queue="Review", pause_after_failures=100,
    )(prompt)  # fmt: skip
    dispatcher.route("Review", name="fixer", agent=second, done_queue="Todo")(prompt)
    with running(dispatcher, prefect_api) as it:
        wait_until("it was given up", lambda: "max_rounds" in "".join(it.comments(task_id)))
        it.in_queue(task_id, "In Progress")
        assert "leaving in place" in it.comments(task_id)[-1]
        assert (first.starts, second.starts) == (ROUNDS, ROUNDS)
