"""1,000 issues in a queue of each board over HTTP: how many requests everything is, as stated."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from athanore.queue_adapters.base import QueueAdapter, claim_task
from athanore.queue_adapters.freshness import KeepsPicture
from athanore.queue_adapters.linear import adapter as linear
from athanore.queue_adapters.planka import queues as planka
from athanore.queue_adapters.tracker import picture
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import planka_double

ISSUES = 1_000
QUEUES = ("Todo", "In Progress", "Done")
LONG_AGO = "2026-01-01T00:00:00"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


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


@pytest.mark.nightly
@pytest.mark.parametrize("board", BOARDS)
def test_what_a_thousand_issues_cost_is_what_the_page_says(
    board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A poll of ours forgets what was read; a claim that follows finds it young enough.
    monkeypatch.setattr(picture, "MAX_AGE", 3600)
    monkeypatch.setattr(planka, "BOARD_MAX_AGE", timedelta(hours=1))
    monkeypatch.setattr(linear, "CLAIM_SETTLES", 0.02)
    with BOARDS[board]() as site:
        todo, at_work, done = (f"{site.prefix}{queue}" for queue in QUEUES)

        def cost(work: Callable[[], object]) -> str:
            before, counted = len(site.log), site.counted() if site.counted else 0
            work()
            sent = len(site.log) - before
            if site.counted is None or (count := site.counted() - counted) == sent:
                return str(sent)
            return f"{sent}, of which {count} count"

        def poll(count: int) -> None:
            site.adapter.forget_picture()
            assert len(site.adapter.get_ready_tasks([todo, at_work, done])) == count

        site.adapter.prepare((todo, at_work, done))
        first = cost(lambda: poll(ISSUES))
        poll(ISSUES)  # the first one that asks only for what has changed
        unchanged = cost(lambda: poll(ISSUES))
        site.add()
        changed = cost(lambda: poll(ISSUES + 1))
        whole_every = picture.WHOLE_EVERY
        monkeypatch.setattr(picture, "WHOLE_EVERY", 0)
        whole = cost(lambda: poll(ISSUES + 1))
        monkeypatch.setattr(picture, "WHOLE_EVERY", whole_every)
        task = site.adapter.get_ready_tasks([todo])[0].id
        assert site.adapter.user
        claim = cost(
            lambda: claim_task(site.adapter, task, source_queue=todo, target_queue=at_work)
        )
        comment = cost(lambda: site.adapter.add_comment(task, "Done."))
        move = cost(lambda: site.adapter.move_task(task, done))
    cells = (board, first, unchanged, changed, whole, claim, comment, move)
    assert f"| {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8").splitlines()
