"""A Planka that loses answers, takes access away, or does not take a text: no task pays for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import override

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, Task
from athanore.agent_adapters.base import AgentJob
from athanore.errors import BoardNotWritableError
from athanore.runtime.margins import Margins
from athanore.testing.doubles.planka.server import BOT_KEY, PlankaDouble, planka_double
from tests.harness import app_name, prompt, running
from tests.support import wait_until

TODO, PROGRESS, DONE, FAILED = (f"P.B.{name}" for name in ("Todo", "In Progress", "Done", "Failed"))
LISTS = ("Todo", "In Progress", "Done", "Failed")


class Agent:
    """Does what is asked by task; otherwise it succeeds."""

    def __init__(self) -> None:
        self.starts = Counter[str]()
        self.doing: dict[str, Callable[[AgentJob], AgentResult]] = {}

    async def run(self, job: AgentJob) -> AgentResult:
        self.starts[job.task.name] += 1
        work = self.doing.get(job.task.name)
        return work(job) if work else AgentResult(AgentOutcome.SUCCEEDED)


def is_in(planka: PlankaDouble, card_id: str, name: str) -> None:
    """Wait until a card is in a list; the double's tables tell, so that no fault is used up."""
    card = planka.state.tables["cards"][card_id]
    wait_until(f"{card['name']} is in {name}", lambda: card["listId"] == planka.list(name)["id"])


def fails_once(job: AgentJob) -> AgentResult:
    outcome = AgentOutcome.FAILED if job.attempt == 1 else AgentOutcome.SUCCEEDED
    return AgentResult(outcome, "exit code 1", output_tail="last words")


def fails(job: AgentJob) -> AgentResult:
    return AgentResult(AgentOutcome.FAILED, "exit code 1", output_tail="bad\0words")


@pytest.mark.postgres
def test_lost_answers_and_refused_texts(prefect_api: str) -> None:
    agent = Agent()
    with planka_double(lists=()) as planka:
        planka.add_board("P", "B", lists=LISTS)
        adapter = planka.board().create_adapter()
        app = AgentDispatcher(
            name=app_name("lost"), queue_backend=adapter, default_agent=agent, api_port=0,
            poll_interval=2, max_concurrent_agents=1, max_retries=1, dead_letter_queue=FAILED,
        )  # fmt: skip
        app.route(TODO, in_progress_queue=PROGRESS, done_queue=DONE, retry_delay=0)(prompt)
        claimed = planka.card("Todo", "claim", 1)["id"]
        planka.fail("PATCH", f"/cards/{claimed}", "cut")
        planka.fail("PATCH", f"/cards/{claimed}", 503, times=2)
        planka.state.before_membership = lambda: (
            planka.fail("GET", f"/cards/{claimed}", 503, times=3)
            if f"PATCH /api/cards/{claimed}" not in planka.log
            else None
        )
        commented = planka.card("Todo", "comment", 2)["id"]
        planka.fail("POST", f"/cards/{commented}/comments", 504)
        refused = planka.card("Todo", "refused", 3)["id"]
        planka.fail("POST", f"/cards/{refused}/comments", 422, times=1)
        nul = planka.card("Todo", "nul", 4)["id"]
        agent.doing = {"comment": fails_once, "refused": fails_once, "nul": fails}
        with running(app, prefect_api) as it:
            for card in (claimed, commented, refused):
                is_in(planka, card, "Done")
            is_in(planka, nul, "Failed")
            assert it.prefect.ended(nul)["state_name"] == "Failed"
            said = "Retry 1/1: exit code 1. Moving back to source queue for retry."
            # The answer to it was lost, and it was not found: it was written again, once.
            assert it.comments(commented) == [f"{said}\nlast words"]
            assert it.comments(refused) == [said], "without what the board did not take"
            assert it.comments(nul) == [
                f"{said}\nbad\ufffdwords",
                "Max retries (1) exhausted. Moving to dead-letter queue.\n"
                "exit code 1\nbad\ufffdwords",
            ]
        assert agent.starts == {"claim": 1, "comment": 2, "refused": 2, "nul": 2}
        adapter.close()


@pytest.mark.nightly
def test_an_access_that_is_taken_away_in_mid_run(
    prefect_api: str,
) -> None:
    agent = Agent()
    with planka_double(lists=()) as planka:
        board = planka.add_board("P", "B", lists=LISTS)
        adapter = planka.board().create_adapter()

        def revoked(job: AgentJob) -> AgentResult:
            del planka.state.keys[BOT_KEY]
            return AgentResult(AgentOutcome.SUCCEEDED)

        def removed(job: AgentJob) -> AgentResult:
            if job.attempt == 1:
                planka.role_on(board, "")
            return fails_once(job)

        app = AgentDispatcher(
            name=app_name("access"), queue_backend=adapter, default_agent=agent, api_port=0,
            poll_interval=2, max_concurrent_agents=1, max_retries=1, dead_letter_queue=FAILED,
        )  # fmt: skip
        app.route(TODO, in_progress_queue=PROGRESS, done_queue=DONE, retry_delay=0, resume_after=2)(
            prompt
        )
        first = planka.card("Todo", "revoked", 1)["id"]
        second = planka.card("Todo", "removed", 2)["id"]
        agent.doing = {"revoked": revoked, "removed": removed}
        margins = Margins(board_access=timedelta(seconds=0.1))
        with running(app, prefect_api, margins=margins) as it:

            def its_outcome_is_kept(task_id: str) -> None:
                def waits() -> bool:
                    found = it.prefect.runs(task_id)
                    return bool(found) and found[-1]["state_name"] == "Waiting for the board"

                wait_until("the outcome is kept", waits)

            its_outcome_is_kept(first)
            planka.state.keys[BOT_KEY] = planka.bot["id"]
            its_outcome_is_kept(second)
            planka.role_on(board, "editor")
            for card in (first, second):
                is_in(planka, card, "Done")
                assert it.prefect.ended(card)["state_name"] == "Completed"
            assert it.comments(first) == []
            assert it.comments(second) == [
                "Retry 1/1: exit code 1. Moving back to source queue for retry."
            ]
            resumed = [r for r in it.prefect.runs(kind="poll") if r["name"] == f"resume {TODO}"]
            assert resumed, "the route was paused"
        assert agent.starts == {"revoked": 1, "removed": 2}
        adapter.close()


class TakesNoClaim(MemoryAdapter):
    """A board that can be read, and not be changed for now."""

    is_full = True

    @override
    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        if self.is_full:
            raise BoardNotWritableError("No space left on device; make room there.")
        return super().claim_task(
            task_id, source_queue=source_queue, target_queue=target_queue, assignee=assignee
        )


@pytest.mark.nightly
def test_a_board_that_takes_no_claim_pauses_its_route_until_it_does(
    prefect_api: str,
) -> None:
    agent, board = Agent(), TakesNoClaim({"Todo": ["Fix it"], "In Progress": [], "Done": []})
    app = AgentDispatcher(
        name=app_name("full"), queue_backend=board, default_agent=agent, api_port=0, poll_interval=1
    )
    app.route("Todo", done_queue="Done", resume_after=2)(prompt)
    margins = Margins(board_access=timedelta(seconds=0.1))
    with running(app, prefect_api, margins=margins) as it:

        def is_paused() -> bool:
            polls = it.prefect.runs(kind="poll")
            return any(poll["name"] == "resume Todo" for poll in polls)

        wait_until("the route pauses itself", is_paused)
        board.is_full = False
        wait_until("the task is done", lambda: board.get_task("1").queue_name == "Done")
    assert agent.starts == {"Fix it": 1}
