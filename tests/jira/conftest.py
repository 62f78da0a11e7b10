"""A double for each test, held to Jira's description of its API, and an adapter on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore.queue_adapters.jira.adapter import JiraAdapter
from athanore.testing.doubles.jira import JiraDouble, jira_double

QUEUES = ("Todo", "In Progress", "Done")


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATHANORE_JIRA_TOKEN", "JIRA_API_TOKEN", "ATHANORE_JIRA_EMAIL", "JIRA_EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="package")
def server() -> Iterator[JiraDouble]:
    with jira_double() as jira:
        yield jira


@pytest.fixture
def jira(server: JiraDouble) -> Iterator[JiraDouble]:
    """A project with three statuses, each of which can be reached from each other."""
    server.start_anew(*QUEUES)
    yield server
    assert server.wire.violations == []


@pytest.fixture
def adapter(jira: JiraDouble) -> Iterator[JiraAdapter]:
    """The bot's adapter."""
    adapter = jira.board().create_adapter()
    yield adapter
    adapter.close()
