"""A double for each test, held to GitLab's description of its API, and an adapter on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.testing.doubles.gitlab import GitLabDouble, gitlab_double

QUEUES = ("agent::Todo", "agent::In Progress", "agent::Done")


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATHANORE_GITLAB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="package")
def server() -> Iterator[GitLabDouble]:
    with gitlab_double() as gitlab:
        yield gitlab


@pytest.fixture
def gitlab(server: GitLabDouble) -> Iterator[GitLabDouble]:
    """A project with the labels of three queues."""
    server.start_anew(*QUEUES)
    yield server
    assert server.wire.violations == []


@pytest.fixture
def adapter(gitlab: GitLabDouble) -> Iterator[GitLabAdapter]:
    """The bot's adapter."""
    adapter = gitlab.board().create_adapter()
    yield adapter
    adapter.close()
