"""New tasks whose answers are lost, on every board over HTTP: never lost, and never there twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass

import pytest

from athanore import Task
from athanore.errors import AnswerLostError, BoardError
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import JiraDouble, jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import planka_double
from athanore.testing.doubles.wire import Kind


@dataclass(frozen=True)
class Site:
    """An empty board on a server that loses answers.

    Attributes:
        queue: where tasks are made.
        fail: what becomes of so many of the next tasks that are made.
        blind: has the next look for a task fail.
        count: how many tasks the server has, in whatever queue.
        block: has the writes fail that take a new task to its queue, until what it returns is
            called; None where a task is made in its queue.
        repeats: whether the board sends a task once more that it does not find.
    """

    adapter: QueueAdapter
    queue: str
    fail: Callable[[Kind, int], None]
    blind: Callable[[], None]
    count: Callable[[], int]
    block: Callable[[], Callable[[], None]] | None = None
    repeats: bool = True


def _blocked(double: GitHubDouble | JiraDouble, path: str) -> Callable[[], None]:
    double.fail("POST", path, 503, 1_000)
    double.fail("GET", "/issues", "page", 1_000)
    double.fail("POST", "/search", "page", 1_000)
    return double.wire.faults.clear


@contextmanager
def on_github() -> Generator[Site]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            "Todo",
            lambda kind, times: double.fail("POST", "/issues", kind, times),
            lambda: double.fail("GET", "/issues", "page"),
            lambda: len(double.state.issues),
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(["Todo", "Done"])
        with closing(double.project_board().create_adapter()) as adapter:
            yield Site(
                adapter,
                "Todo",
                lambda kind, times: double.fail("POST", "/issues", kind, times),
                lambda: double.fail("GET", "/issues", "page"),
                lambda: len(double.state.issues),
                lambda: _blocked(double, "/graphql"),
            )


@contextmanager
def on_gitlab() -> Generator[Site]:
    with gitlab_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            "Todo",
            lambda kind, times: double.fail("POST", "/issues", kind, times),
            lambda: double.fail("GET", "/issues", "page"),
            lambda: len(double.state.issues),
        )


@contextmanager
def on_jira() -> Generator[Site]:
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            "In Progress",
            lambda kind, times: double.fail("POST", "/issue", kind, times),
            lambda: double.fail("POST", "/search", "page"),
            lambda: len(double.state.issues),
            lambda: _blocked(double, "/transitions"),
            repeats=False,
        )


@contextmanager
def on_linear() -> Generator[Site]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            "Todo",
            lambda kind, times: double.fail("Create", kind, times),
            lambda: double.fail("Issue", "page"),
            lambda: len(double.state.issues),
        )


@contextmanager
def on_planka() -> Generator[Site]:
    with planka_double(lists=()) as double, closing(double.board().create_adapter()) as adapter:
        double.add_board("P", "B", lists=("Todo", "Done"))

        yield Site(
            adapter,
            "P.B.Todo",
            lambda kind, times: double.fail("POST", "/cards", kind, times),
            lambda: double.fail("GET", "/boards/", "page"),
            lambda: len(double.state.rows("cards")),
            repeats=False,
        )


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
}


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Each board, which has been read, and shows at once what was written."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))
    with BOARDS[request.param]() as site:
        assert shown(site) == []
        yield site


def create(site: Site, name: str = "Fix crash") -> Task:
    return site.adapter.create_task(site.queue, name, "It happens on Tuesdays.")


def in_doubt(site: Site) -> None:
    """A task is made, and its adapter promises to look if it is made again."""
    with pytest.raises(AnswerLostError, match="'Fix crash' again") as caught:
        create(site)
    assert caught.value.may_repeat


def shown(site: Site) -> list[str]:
    return [task.id for task in site.adapter.get_ready_tasks([site.queue])]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_task_whose_answer_is_lost_is_there_once(site: Site, kind: Kind) -> None:
    site.fail(kind, 1)
    if kind == 500 and not site.repeats:
        in_doubt(site)
    task = create(site)
    assert (site.count(), shown(site)) == (1, [task.id])
    assert site.adapter.get_task(task.id).description == "It happens on Tuesdays."


def test_a_task_that_is_not_there_is_made_when_it_is_tried_again(site: Site) -> None:
    site.fail(500, 4 if site.repeats else 2)
    for _ in range(2):
        in_doubt(site)
        assert site.count() == 0
    task = create(site)
    assert (site.count(), shown(site)) == (1, [task.id])


def test_a_task_that_nobody_could_look_for_is_looked_for_when_it_is_tried_again(
    site: Site,
) -> None:
    site.fail("lost", 1)
    site.blind()
    in_doubt(site)
    assert site.count() == 1
    task = create(site)
    assert (site.count(), shown(site)) == (1, [task.id])


def test_the_same_words_are_another_task_once_the_first_is_known_to_be_there(site: Site) -> None:
    site.fail("lost", 1)
    site.blind()
    in_doubt(site)
    first = create(site)
    second = create(site)
    assert (site.count(), {first.id, second.id}) == (2, set(shown(site)))


def test_another_task_is_none_that_is_in_doubt(site: Site) -> None:
    site.fail(500, 2 if site.repeats else 1)
    in_doubt(site)
    other = create(site, "Add dark mode")
    task = create(site)
    assert shown(site) == [other.id, task.id]


def test_a_task_that_is_created_and_not_placed_is_placed_when_it_is_tried_again(
    site: Site,
) -> None:
    if site.block is None:
        pytest.skip("it is created in its queue")
    unblock = site.block()
    with pytest.raises(BoardError) as caught:
        create(site)
    assert isinstance(caught.value, AnswerLostError), caught.value
    assert site.count() == 1
    assert caught.value.may_repeat
    unblock()
    site.blind()  # lists lag: it is known which one it is
    task = create(site)
    unblock()
    assert (site.count(), shown(site)) == (1, [task.id])
    assert create(site).id != task.id
