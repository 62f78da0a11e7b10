"""The queue adapters' contract on Jira: on the double, as Cloud and as Data Center."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.testing.doubles.jira import JiraDouble, jira_double
from athanore.testing.doubles.jira.server import BOT, PERSON
from athanore.testing.queue_contract import QueueAdapterContract
from tests.jira.described import Description

QUEUES = ("Todo", "In Progress", "Done")


class JiraContract(QueueAdapterContract):
    """What Jira can take."""

    assignees = (PERSON, BOT)
    labels = ("bug", "urgent")
    missing_id = "ENG-999999"
    long_name = "n" * 255
    long_text = "Ein langer Text, 長い. " * 1_300
    labels_ordered = False
    queues_ordered = False
    one_assignee = True
    manages_queues = False
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
    with jira_double(check=Description().check) as jira:
        yield jira


class TestJiraCloud(JiraContract):
    pass


@pytest.mark.nightly
class TestJiraDataCenter(JiraContract):
    deployment = "Server"
