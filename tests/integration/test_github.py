"""Three stages on GitHub, whose limit is hit and whose token is taken away while agents work."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult
from athanore.agent_adapters.base import AgentJob
from athanore.runtime.margins import Margins
from athanore.testing.doubles.github import GitHubDouble, github_double
from tests.harness import app_name, prompt, running
from tests.support import wait_until

STAGES = ("Todo", "Review", "Publish")
QUEUES = (*STAGES, "In Progress", "In Review", "In Publication", "Done", "Failed")
TASKS = 4


class Agents:
    """Succeed at every stage, and have GitHub refuse in the middle, once in each way."""

    def __init__(self, github: GitHubDouble) -> None:
        self._github = github
        self.starts = Counter[tuple[str, str]]()
        self.limited = threading.Event()
        self.revoked = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        stage = job.env["ATHANORE_QUEUE"]
        self.starts[job.task.name, stage] += 1
        if stage == "Review" and not self.limited.is_set():
            self._github.refuse_for(3, "secondary")
            self.limited.set()
        if stage == "Publish" and not self.revoked.is_set():
            self.robbed = self._github.revoke()
            self.revoked.set()
        if (job.task.name, stage, job.attempt) == ("issue 2", "Todo", 1):
            return AgentResult(AgentOutcome.FAILED, "exit code 2", output_tail="cc @octocat")
        return AgentResult(AgentOutcome.SUCCEEDED)


@pytest.mark.nightly
def test_a_pipeline_goes_on_by_itself_after_a_limit_and_a_revoked_token(
    prefect_api: str,
) -> None:
    labels = [f"agent:{queue}" for queue in QUEUES]
    with github_double(labels=labels) as github:
        numbers = [github.issue(f"issue {n}", "bug", "agent:Todo")["number"] for n in range(TASKS)]
        agents = Agents(github)
        app = AgentDispatcher(
            name=app_name("github"), queue_backend=github.board(closes=["Done"]),
            default_agent=agents, api_port=0, poll_interval=2, max_concurrent_agents=2,
            max_retries=1, dead_letter_queue="Failed",
        )  # fmt: skip
        ways = zip(STAGES, QUEUES[3:6], (*STAGES[1:], "Done"), strict=True)
        for queue, in_progress, done in ways:
            app.route(
                queue, in_progress_queue=in_progress, done_queue=done, retry_delay=0, resume_after=2
            )(prompt)
        margins = Margins(board_access=timedelta(seconds=0.1))
        with running(app, prefect_api, margins=margins) as it:
            wait_until("the token is taken away", agents.revoked.is_set)
            wait_until(
                "a route pauses itself",
                lambda: (
                    any("resume" in r["name"] for r in it.prefect.runs(kind="poll"))
                    or any(r["state_name"] == "Waiting for the board" for r in it.prefect.runs())
                ),
            )
            github.grant(agents.robbed)
            for number in numbers:
                issue = github.state.issue(number)
                wait_until(f"issue {number} is closed", lambda row=issue: row["state"] == "closed")
                assert github.labels(number) == ["bug", "agent:Done"]
                assert it.prefect.ended(str(number))["state_name"] == "Completed"
        said = "Retry 1/1: exit code 2. Moving back to source queue for retry.\ncc @octocat"
        app.board.get_task(str(numbers[2]))
        assert [[c.text for c in app.board.get_task(str(n)).comments] for n in numbers] == [
            [said] if n == numbers[2] else [] for n in numbers
        ]
        assert "@octocat" not in github.comments(numbers[2])[0]
        assert agents.limited.is_set()
        expected = {(f"issue {n}", stage): 1 for n in range(TASKS) for stage in STAGES}
        assert agents.starts == expected | {("issue 2", "Todo"): 2}
        assert github.wire.violations == []
