"""The queue adapters' contract on Jira: on the double, Cloud and Data Center, and on a real site.

A real one needs ATHANORE_TEST_JIRA_URL, ATHANORE_TEST_JIRA_TOKEN, on Jira Cloud
ATHANORE_TEST_JIRA_EMAIL, and ATHANORE_TEST_JIRA_PROJECT, the key of a project for nothing else,
whose statuses are To Do, In Progress and Done, and whose issues the account may delete: it deletes
them. ATHANORE_TEST_JIRA_ASSIGNEES names two people who may be assigned there, as Jira shows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.jira import JiraBoard
from athanore.queue_adapters.jira.client import JiraClient
from athanore.queue_adapters.tracker.answers import MissingError
from athanore.testing.doubles.jira import JiraDouble, jira_double
from athanore.testing.doubles.jira.server import BOT, PERSON
from athanore.testing.queue_contract import QueueAdapterContract
from tests.support import wait_until

QUEUES = ("Todo", "In Progress", "Done")


class JiraContract(QueueAdapterContract):
    """What Jira can take."""

    labels = ("bug", "urgent")
    missing_id = "ENG-999999"
    long_name = "n" * 255
    long_text = "Ein langer Text, 長い. " * 1_300
    labels_ordered = False
    queues_ordered = False
    one_assignee = True
    manages_queues = False


class JiraDoubleContract(JiraContract):
    """The contract on the double; subclasses say which Jira it is."""

    assignees = (PERSON, BOT)
    deployment: Literal["Cloud", "Server"] = "Cloud"

    @pytest.fixture
    def adapter(self, jira: JiraDouble) -> Iterator[QueueAdapter]:
        jira.start_anew(*QUEUES, deployment=self.deployment)
        adapter = jira.board().create_adapter()
        yield adapter
        adapter.close()
        assert jira.wire.violations == []


@pytest.fixture(scope="module")
def jira() -> Iterator[JiraDouble]:
    with jira_double() as jira:
        yield jira


class TestJiraCloud(JiraDoubleContract):
    pass


@pytest.mark.nightly
class TestJiraDataCenter(JiraDoubleContract):
    deployment = "Server"


@pytest.mark.nightly
class TestRealJira(JiraContract):
    def queue_name(self, name: str) -> str:
        return {"Todo": "To Do"}.get(name, name)

    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        url = os.environ.get("ATHANORE_TEST_JIRA_URL")
        token = os.environ.get("ATHANORE_TEST_JIRA_TOKEN")
        project = os.environ.get("ATHANORE_TEST_JIRA_PROJECT")
        if not url or not token or not project:
            pytest.skip("ATHANORE_TEST_JIRA_URL, _TOKEN and _PROJECT are not all set")
        email = os.environ.get("ATHANORE_TEST_JIRA_EMAIL")
        people = os.environ.get("ATHANORE_TEST_JIRA_ASSIGNEES", "").split(",")
        if len(people) == 2:
            type(self).assignees = (people[0], people[1])
        type(self).missing_id = f"{project}-999999"
        delays = (timedelta(seconds=1),)
        client = JiraClient(
            url.rstrip("/"), token, email, timeout=timedelta(seconds=20), retry_delays=delays
        )
        board = JiraBoard(url, project, email=email, token=token)
        queues = ["To Do", "In Progress", "Done"]

        def is_empty() -> bool:
            """Delete what is there; the search lags, so that it is asked until it knows."""
            look = board.create_adapter()
            try:
                found = look.get_ready_tasks(queues)
                for task in found:
                    client.write("DELETE", f"api/2/issue/{task.id}")
            except MissingError:
                return False
            finally:
                look.close()
            return not found

        wait_until("the project is empty", is_empty, 120)
        adapter = board.create_adapter()
        yield adapter
        adapter.close()
        wait_until("the project is empty", is_empty, 120)
        client.close()
