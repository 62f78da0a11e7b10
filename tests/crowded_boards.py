"""Boards over HTTP with 1,000 issues in one queue, on doubles: for a test, and for the bench."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.freshness import KeepsPicture
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import planka_double

ISSUES = 1_000
QUEUES = ("Todo", "In Progress", "Done")
LONG_AGO = "2026-01-01T00:00:00"


class Whole(QueueAdapter, KeepsPicture, Protocol):
    @property
    def user(self) -> str | None: ...

    def prepare(self, queue_names: tuple[str, ...]) -> None: ...


@dataclass(frozen=True)
class Site:
    """A board with many issues in its first queue.

    Attributes:
        log: the requests so far.
        counted: how many of them count towards the limit; None if all do.
        add: has a person make one more issue.
        prefix: what the names of queues begin with.
    """

    adapter: Whole
    log: list[str]
    add: Callable[[], object]
    counted: Callable[[], int] | None = None
    prefix: str = ""


@contextmanager
def on_github() -> Generator[Site]:
    with github_double(check=None) as double, closing(double.board().create_adapter()) as adapter:
        for n in range(ISSUES):
            row = double.issue(f"issue {n}", "agent:Todo")
            row["created_at"] = row["updated_at"] = f"{LONG_AGO}Z"
        yield Site(
            adapter,
            double.log,
            lambda: double.issue("one more", "agent:Todo"),
            lambda: double.wire.counted,
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(check=None, project=("octo-org", 5)) as double:
        double.project.start_anew([*QUEUES])
        for n in range(ISSUES):
            double.project.add(double.issue(f"issue {n}"), "Todo")
        with closing(double.project_board().create_adapter()) as adapter:
            yield Site(
                adapter,
                double.log,
                lambda: double.project.add(double.issue("one more"), "Todo"),
            )


@contextmanager
def on_gitlab() -> Generator[Site]:
    with gitlab_double(check=None) as double, closing(double.board().create_adapter()) as adapter:
        for n in range(ISSUES):
            row = double.issue(f"issue {n}", "agent::Todo")
            row["created_at"] = row["updated_at"] = f"{LONG_AGO}.000Z"
        yield Site(adapter, double.log, lambda: double.issue("one more", "agent::Todo"))


@contextmanager
def on_jira() -> Generator[Site]:
    with jira_double(check=None) as double, closing(double.board().create_adapter()) as adapter:
        for n in range(ISSUES):
            double.issue(f"issue {n}", "Todo")["fields"]["updated"] = f"{LONG_AGO}.000+0000"
        yield Site(adapter, double.log, lambda: double.issue("one more", "Todo"))


@contextmanager
def on_linear() -> Generator[Site]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        for n in range(ISSUES):
            # Linear tells no time of its own: what is new is told by the newest issue.
            at = datetime.fromisoformat(LONG_AGO) + timedelta(minutes=n)
            double.issue(f"issue {n}")["updatedAt"] = f"{at.isoformat()}.000Z"
        yield Site(adapter, double.log, lambda: double.issue("one more"))


@contextmanager
def on_planka() -> Generator[Site]:
    with planka_double(lists=()) as double, closing(double.board().create_adapter()) as adapter:
        double.add_board("P", "B", lists=QUEUES)
        for n in range(ISSUES):
            double.card("Todo", f"card {n}", n + 1)
        yield Site(
            adapter,
            double.log,
            lambda: double.card("Todo", "one more", ISSUES + 1),
            prefix="P.B.",
        )


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "GitHub": on_github,
    "a project of GitHub": on_a_github_project,
    "GitLab": on_gitlab,
    "Jira": on_jira,
    "Linear": on_linear,
    "Planka": on_planka,
}
