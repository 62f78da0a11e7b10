"""Polls of boards over GraphQL slow down before the quota is used up, and a claim does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from athanore.http_client.patience import Patience
from athanore.queue_adapters.base import QueueAdapter, claim_task
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.credentials import PersonalToken
from athanore.queue_adapters.github.graphql import GitHubGraphQL
from athanore.queue_adapters.github.projects.adapter import GitHubProjectAdapter
from athanore.queue_adapters.github.projects.project import Project
from athanore.queue_adapters.linear import adapter as linear_adapter
from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.queue_adapters.linear.client import LinearClient
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github import server as github
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.linear import server as linear

PATIENCE = Patience(timedelta(seconds=20), ())


class Clock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


@dataclass(frozen=True)
class Site:
    """A board with one task in Todo.

    Attributes:
        leave: has so many requests be left.
        reads: how often the board was read so far.
    """

    adapter: QueueAdapter
    task: str
    leave: Callable[[int], None]
    reads: Callable[[], int]


@contextmanager
def on_linear(clock: Clock) -> Generator[Site]:
    with linear_double() as double:
        client = LinearClient(
            f"{double.url}/graphql", linear.TOKEN, timeout=PATIENCE.timeout, retry_delays=()
        )
        task = double.issue("a", "Todo")["id"]
        with closing(LinearAdapter(client, "ENG", assigns=True, now=clock)) as adapter:
            yield Site(
                adapter,
                task,
                lambda left: setattr(double.wire, "remaining", left),
                lambda: double.log.count("Issues"),
            )


@contextmanager
def on_a_github_project(clock: Clock) -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(["Todo", "In Progress", "Done"])
        double.project.add(double.issue("a"), "Todo")
        token, api = PersonalToken(github.TOKEN), f"{double.url}/api/v3"
        graphql = GitHubGraphQL(f"{double.url}/api/graphql", token, PATIENCE)
        project = Project(graphql, "octo-org", 5, "Status")
        client = GitHubClient(api, token, PATIENCE)
        home = double.repository
        with closing(
            GitHubProjectAdapter(
                client, project, repository=home, closes=(), assigns=True, now=clock
            )
        ) as adapter:
            yield Site(
                adapter,
                "website-1",
                lambda left: setattr(double.wire, "remaining", left),
                lambda: double.log.count("POST /graphql Items"),
            )


BOARDS: dict[str, Callable[[Clock], AbstractContextManager[Site]]] = {
    "linear": on_linear,
    "github-project": on_a_github_project,
}


@pytest.mark.parametrize("board", BOARDS)
def test_polls_slow_down_before_the_quota_is_used_up_and_a_claim_does_not(
    board: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_adapter, "CLAIM_SETTLES", 0.0)
    clock = Clock()
    with BOARDS[board](clock) as site:
        site.leave(362)
        assert [task.id for task in site.adapter.get_ready_tasks(["Todo"])] == [site.task]
        before = site.reads()
        for _ in range(40):
            clock.forward(2)
            assert len(site.adapter.get_ready_tasks(["Todo"])) == 1
        assert site.reads() - before == 3, "one in about 20 s"
        said = [r for r in caplog.records if getattr(r, "action", "") == "board_read_less"]
        assert len(said) == 1 and "every 20 s" in said[0].getMessage()
        claimed = claim_task(
            site.adapter, site.task, source_queue="Todo", target_queue="In Progress"
        )
        assert claimed.queue_name == "In Progress"
        site.leave(2_400)
        site.adapter.add_comment(site.task, "hello")
        clock.forward(25)
        site.adapter.get_ready_tasks(["Todo"])
        before = site.reads()
        for _ in range(3):
            clock.forward(2)
            site.adapter.get_ready_tasks(["Todo"])
        assert site.reads() - before == 3
