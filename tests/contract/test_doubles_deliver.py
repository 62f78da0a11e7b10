"""What the doubles' webhooks deliver: a person's move names both queues, and our own none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.base import QueueAdapter, SupportsSignedWebhook
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka import planka_double
from athanore.testing.doubles.signing import Delivery

SECRET = "secret-of-the-webhook"
SIGNING = f"whsec_{base64.b64encode(b'secret-of-the-webhook').decode()}"
QUEUES = ["Todo", "In Progress", "Done"]


@dataclass(frozen=True)
class Site:
    """A board with one task, which a person has just moved from In Progress to Todo.

    Attributes:
        delivery: tells of that move, or of the last one.
    """

    adapter: QueueAdapter
    task: str
    delivery: Callable[[], Delivery]
    secret: str = SECRET


@contextmanager
def on_github() -> Generator[Site]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        number = double.issue("a", "agent:Todo")["number"]
        label = "agent:In Progress"
        told = partial(double.delivery, number, SECRET, "unlabeled", label=label)
        yield Site(adapter, str(number), told)


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(QUEUES)
        with closing(double.project_board().create_adapter()) as adapter:
            row = double.issue("a")
            double.project.add(row, "Todo")
            told = partial(double.card_delivery, row, SECRET, "In Progress")
            yield Site(adapter, "website-1", told)


@contextmanager
def on_gitlab(secret: str = SECRET) -> Generator[Site]:
    with gitlab_double() as double, closing(double.board().create_adapter()) as adapter:
        iid = double.issue("a", "agent::Todo")["iid"]
        told = partial(double.delivery, iid, secret, ["agent::In Progress"])
        yield Site(adapter, str(iid), told, secret)


@contextmanager
def on_jira() -> Generator[Site]:
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        key = double.issue("a", "Todo")["key"]
        yield Site(adapter, key, partial(double.delivery, key, SECRET, "In Progress"))


@contextmanager
def on_linear() -> Generator[Site]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        row = double.issue("a", "Todo")
        yield Site(
            adapter, row["id"], partial(double.issue_delivery, row["id"], SECRET, "In Progress")
        )


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "gitlab-signing": lambda: on_gitlab(SIGNING),
    "jira": on_jira,
    "linear": on_linear,
}


@pytest.mark.parametrize("board", BOARDS)
def test_a_persons_move_names_both_queues_and_our_own_none(board: str) -> None:
    with BOARDS[board]() as site:
        adapter = site.adapter
        assert isinstance(adapter, SupportsSignedWebhook)
        headers, body = site.delivery()
        with pytest.raises(WebhookRefusedError):
            adapter.queues_of_delivery(headers, body + b" ", "another " + site.secret, QUEUES)
        found = adapter.queues_of_delivery(headers, body, site.secret, QUEUES)
        assert found == ["Todo", "In Progress"]
        site.adapter.move_task(site.task, "Done")
        assert adapter.queues_of_delivery(*site.delivery(), site.secret, QUEUES) == []


def test_plankas_too() -> None:
    with planka_double() as double, closing(double.board().create_adapter()) as adapter:
        queues = [f"Website.Work.{name}" for name in QUEUES]
        row = double.card("Todo", "a")
        before = {**row, "listId": double.list("In Progress")["id"]}
        headers, body = double.delivery("cardUpdate", row, SECRET, before)
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert adapter.affected_queues(json.loads(body), queues) == queues[:2]
        adapter.move_task(row["id"], queues[2])
        now = double.state.rows("cards", id=row["id"])[0]
        _, body = double.delivery("cardUpdate", now, SECRET, row)
        assert adapter.affected_queues(json.loads(body), queues) == []
