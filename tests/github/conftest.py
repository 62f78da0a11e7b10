"""A double for each test, held to GitHub's description of its API, and an adapter on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.backend import LONGEST_LABEL, graphql_of
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.credentials import PersonalToken
from athanore.queue_adapters.github.graphql import GitHubGraphQL
from athanore.queue_adapters.github.relations import Relations
from athanore.queue_adapters.tracker.labels import Family
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.server import TOKEN

QUEUES = ("agent:Todo", "agent:In Progress", "agent:Done")


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATHANORE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="package")
def server() -> Iterator[GitHubDouble]:
    with github_double() as github:
        yield github


@pytest.fixture
def github(server: GitHubDouble) -> Iterator[GitHubDouble]:
    """A repository with the labels of three queues."""
    server.start_anew(*QUEUES)
    yield server
    assert server.wire.violations == []


@pytest.fixture
def adapter(github: GitHubDouble) -> Iterator[GitHubAdapter]:
    """The bot's adapter."""
    adapter = github.board().create_adapter()
    assert isinstance(adapter, GitHubAdapter)
    yield adapter
    adapter.close()


class Clock:
    """A clock that stands still until a test sets it forward."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(github: GitHubDouble, clock: Clock) -> Iterator[GitHubAdapter]:
    """The bot's adapter, by the test's clock."""
    adapter = adapter_on(github, clock)
    yield adapter
    adapter.close()


def adapter_on(github: GitHubDouble, now: Callable[[], float]) -> GitHubAdapter:
    """An adapter as `GitHubBoard` makes it, by another clock."""
    credential = PersonalToken(TOKEN)
    client = GitHubClient(github.state.site, credential, Patience())
    family = Family.of("GitHubBoard", LONGEST_LABEL, "agent:")
    graphql = GitHubGraphQL(graphql_of(github.state.site), credential, Patience())
    return GitHubAdapter(
        client,
        github.repository,
        family,
        Relations(graphql, now),
        site=github.url,
        closes=(),
        assigns=True,
        now=now,
    )
