"""The queue adapters' contract on Linear: on the double, and on a real workspace if one is given.

A real one needs ATHANORE_TEST_LINEAR_TOKEN and ATHANORE_TEST_LINEAR_TEAM, the key of a team for
nothing else, whose open states are just Todo, In Progress and Done: its issues are moved to
Canceled. ATHANORE_TEST_LINEAR_ASSIGNEES names two of its members by display name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from athanore.models import Task
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.linear import LinearBoard
from athanore.queue_adapters.linear import adapter as module
from athanore.testing.doubles.linear import LinearDouble, linear_double
from athanore.testing.doubles.linear.server import BOT, PERSON
from athanore.testing.doubles.linear.state import rewritten
from athanore.testing.queue_contract import QueueAdapterContract

QUEUES = {"Todo": "unstarted", "In Progress": "started", "Done": "started"}
"""All of them open: what is in a closed state is never ready."""


class LinearContract(QueueAdapterContract):
    """What Linear can take."""

    missing_id = "00000000-0000-4000-8000-000000000001"
    long_name = "n" * 255
    long_text = "Ein langer Text, 長い. " * 2_000
    labels_ordered = False
    one_assignee = True

    def name_of(self, task: Task) -> str:
        return re.sub(r"^[A-Z]+-\d+ ", "", task.name)

    def same_text(self, actual: str, expected: str) -> bool:
        return actual == rewritten(expected)


@pytest.fixture(scope="module")
def linear() -> Iterator[LinearDouble]:
    with linear_double(states=QUEUES) as linear:
        yield linear


class TestLinearDouble(LinearContract):
    assignees = (PERSON, BOT)

    @pytest.fixture
    def adapter(
        self, linear: LinearDouble, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[QueueAdapter]:
        monkeypatch.setattr(module, "CLAIM_SETTLES", 0.02)
        linear.start_anew(QUEUES)
        adapter = linear.board().create_adapter()
        yield adapter
        adapter.close()
        assert linear.wire.violations == []


@pytest.mark.nightly
class TestRealLinear(LinearContract):
    @pytest.fixture
    def adapter(self) -> Iterator[QueueAdapter]:
        token = os.environ.get("ATHANORE_TEST_LINEAR_TOKEN")
        team = os.environ.get("ATHANORE_TEST_LINEAR_TEAM")
        if not token or not team:
            pytest.skip("ATHANORE_TEST_LINEAR_TOKEN and ATHANORE_TEST_LINEAR_TEAM are not set")
        people = os.environ.get("ATHANORE_TEST_LINEAR_ASSIGNEES", "").split(",")
        if len(people) == 2:
            type(self).assignees = (people[0], people[1])
        adapter = LinearBoard(team, token=token).create_adapter()
        for task in adapter.get_ready_tasks([queue.name for queue in adapter.list_queues()]):
            adapter.move_task(task.id, "Canceled")
        yield adapter
        adapter.close()
