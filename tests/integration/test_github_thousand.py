"""1,000 issues in a queue of a GitHub repository, and a webhook: requests and seconds, as stated.

The counts are of the double, and the same on GitHub. The times are of this machine, with answers
that take no time on their way; they are printed (`-s`), and docs/boards.md has what came out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from statistics import median, quantiles

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult
from athanore.agent_adapters.base import AgentJob
from athanore.queue_adapters.tracker.picture import MAX_AGE
from athanore.testing.doubles.github import GitHubDouble, github_double
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until

LABELS = [f"agent:{queue}" for queue in ("Todo", "In Progress", "Done")]
ISSUES = 1_000
ENDED = 40
CHANGES = 20
REPO = "/repos/octo-org/website"
SECRET = "secret-of-the-webhook"


class Agents:
    """Succeed at once when they may; remember when each began."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began: dict[str, float] = {}

    async def run(self, job: AgentJob) -> AgentResult:
        self.began[job.task.id] = time.monotonic()
        await asyncio.to_thread(self.gate.wait)
        return AgentResult(AgentOutcome.SUCCEEDED)


def tell(*lines: str) -> None:
    """Print what was measured."""
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def runs_of(it: Running) -> int:
    """How many runs of agents there are."""
    tags = [f"app:{it.prefect.app}", "agent-run"]
    return int(it.prefect.post("/flow_runs/count", {"flow_runs": {"tags": {"all_": tags}}}))


def app_on(
    github: GitHubDouble, agents: Agents, limit: int, interval: timedelta
) -> AgentDispatcher:
    app = AgentDispatcher(
        name=app_name("thousand"), queue_backend=github.board(), default_agent=agents,
        api_port=0, poll_interval=interval, max_concurrent_agents=limit,
    )  # fmt: skip
    app.route("Todo", in_progress_queue="In Progress", done_queue="Done")(prompt)
    return app


def by_kind(log: list[str]) -> Counter[str]:
    """Requests by what they are, whatever issue they are about."""
    return Counter(
        "/".join("N" if part.isdigit() else part for part in line.split("/")[:7]) for line in log
    )


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_a_thousand_issues_in_a_queue(prefect_api: str) -> None:
    with github_double(labels=LABELS) as github:
        for n in range(ISSUES):
            row = github.issue(f"issue {n}", "agent:Todo")
            # Of long ago: what has changed in the last minute is read again and again.
            row["created_at"] = row["updated_at"] = "2026-01-01T00:00:00Z"
        agents = Agents()
        began = time.monotonic()
        app = app_on(github, agents, 2, timedelta(seconds=5))
        with running(app, prefect_api) as it:
            wait_until("each issue has its run", lambda: runs_of(it) >= ISSUES, 900)
            took = time.monotonic() - began
            lists = sum(line.endswith("/issues") for line in github.log)
            wait_until("agents are at work", lambda: len(agents.began) == 2, 120)
            time.sleep(5)  # what was claimed has come back in a list
            with github.wire.lock:
                github.log.clear()
                counted = github.wire.counted
            started = time.monotonic()
            time.sleep(30)
            with github.wire.lock:
                idle, idle_counted = list(github.log), github.wire.counted - counted
                github.log.clear()
            span = time.monotonic() - started
            agents.gate.set()
            done = LABELS[2]
            wait_until(
                "some are done",
                lambda: sum(done in github.labels(n + 1) for n in range(ISSUES)) >= ENDED,
                600,
            )
            with github.wire.lock:
                log = list(github.log)
            ended = sum(done in github.labels(n + 1) for n in range(ISSUES))
        each = [line for line in log if "/issues/" in line]
        tell(
            f"{ISSUES} issues: each has its run {took:.0f} s after the start of the app, and after "
            f"{lists} requests for lists",
            f"waiting: {len(idle)} requests in {span:.0f} s, of which {idle_counted} count",
            f"{len(each) / ended:.1f} requests for each that is done: {dict(by_kind(each))}",
        )
        assert runs_of(it) <= ISSUES + 2
        lists_only = {f"GET {REPO}/issues", f"GET {REPO}/labels"}
        assert set(by_kind(idle)) <= lists_only
        assert len(idle) <= span / MAX_AGE + 5, "a reading answers all polls, and is one page"
        assert idle_counted <= 10, "an unchanged list does not count"
        assert len(each) / ended <= 12
        assert github.wire.violations == []


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_webhook_starts_an_agent(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_WEBHOOK_TOKEN", SECRET)
    with github_double(labels=LABELS) as github:
        agents = Agents()
        agents.gate.set()
        app = app_on(github, agents, 4, timedelta(hours=1))
        waited: list[float] = []
        with running(app, prefect_api) as it:
            for n in range(CHANGES):
                row = github.issue(f"issue {n}", "agent:Todo")
                payload = {"action": "labeled", "issue": row}
                payload["repository"] = {"full_name": github.repository}
                body = json.dumps(payload).encode()
                digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                headers = {
                    "Content-Type": "application/json",
                    "X-GitHub-Event": "issues",
                    "X-Hub-Signature-256": f"sha256={digest}",
                }
                sent = time.monotonic()
                answer = LOCAL.post(
                    f"{it.api_url}/webhooks/github", content=body, headers=headers, timeout=30
                )
                assert (answer.status_code, answer.json()["polled"]) == (202, ["Todo"])
                task_id = str(row["number"])
                wait_until(f"{task_id} has its agent", lambda t=task_id: t in agents.began, 60)
                waited.append(agents.began[task_id] - sent)
        p95 = quantiles(waited, n=20)[-1]
        tell(f"from a delivery to the agent: median {median(waited):.2f} s, p95 {p95:.2f} s")
        assert max(waited) < 30
