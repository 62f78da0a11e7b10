"""Comments whose answers are lost, on every board over HTTP: never lost, and never there twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass

import pytest

from athanore.errors import AnswerLostError
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import planka_double
from athanore.testing.doubles.wire import Kind

TEXT = "Half of it works. @octocat"


@dataclass(frozen=True)
class Site:
    """A board with one task, on a server that loses answers.

    Attributes:
        task: the task.
        fail: what becomes of so many of the next comments.
        blind: has one of the next looks for a comment fail.
        count: how many comments the server has.
    """

    adapter: QueueAdapter
    task: str
    fail: Callable[[Kind, int], None]
    blind: Callable[[], None]
    count: Callable[[], int]


@contextmanager
def on_github() -> Generator[Site]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        number = double.issue("Fix crash", "agent:Todo")["number"]
        yield Site(
            adapter,
            str(number),
            lambda kind, times: double.fail("POST", "/comments", kind, times),
            lambda: double.fail("GET", "/comments", "page"),
            lambda: len(double.comments(number)),
        )


@contextmanager
def on_several_repositories() -> Generator[Site]:
    with (
        github_double(others=["octo-org/api"]) as double,
        closing(double.board("octo-org/api").create_adapter()) as adapter,
    ):
        number = double.issue("Fix crash", "agent:Todo")["number"]
        yield Site(
            adapter,
            f"website-{number}",
            lambda kind, times: double.fail("POST", "/comments", kind, times),
            lambda: double.fail("GET", "/comments", "page"),
            lambda: len(double.comments(number)),
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew(["Todo", "Done"])
        with closing(double.project_board().create_adapter()) as adapter:
            task = adapter.create_task("Todo", "Fix crash").id
            yield Site(
                adapter,
                task,
                lambda kind, times: double.fail("POST", "/comments", kind, times),
                lambda: double.fail("GET", "/comments", "page"),
                lambda: sum(map(len, double.state.comments.values())),
            )


@contextmanager
def on_gitlab() -> Generator[Site]:
    with gitlab_double() as double, closing(double.board().create_adapter()) as adapter:
        task = adapter.create_task("Todo", "Fix crash").id
        yield Site(
            adapter,
            task,
            lambda kind, times: double.fail("POST", "/notes", kind, times),
            lambda: double.fail("GET", "/notes", "page"),
            lambda: sum(not note["system"] for note in double.state.notes[int(task)]),
        )


@contextmanager
def on_jira() -> Generator[Site]:
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        task = adapter.create_task("Todo", "Fix crash").id
        yield Site(
            adapter,
            task,
            lambda kind, times: double.fail("POST", "/comment", kind, times),
            lambda: double.fail("GET", "/comment", "page"),
            lambda: sum(map(len, double.state.comments.values())),
        )


@contextmanager
def on_linear() -> Generator[Site]:
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        task = adapter.create_task("Todo", "Fix crash").id
        yield Site(
            adapter,
            task,
            lambda kind, times: double.fail("AddComment", kind, times),
            lambda: double.fail("Comment", "page"),
            lambda: len(double.comments(task)),
        )


@contextmanager
def on_planka() -> Generator[Site]:
    with planka_double(lists=()) as double, closing(double.board().create_adapter()) as adapter:
        double.add_board("P", "B", lists=("Todo", "Done"))
        task = double.card("Todo", "Fix crash")["id"]

        yield Site(
            adapter,
            task,
            lambda kind, times: double.fail("POST", "/comments", kind, times),
            lambda: double.fail("GET", "/comments", "page"),
            lambda: len(double.state.rows("comments")),
        )


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-several": on_several_repositories,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
}


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Each board, which shows at once what was written."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))
    with BOARDS[request.param]() as site:
        yield site


def comment(site: Site, text: str = TEXT) -> None:
    site.adapter.add_comment(site.task, text)


def in_doubt(site: Site) -> None:
    """A comment is tried, and its adapter promises to look if it is tried again."""
    with pytest.raises(AnswerLostError) as caught:
        comment(site)
    assert caught.value.may_repeat


def shown(site: Site) -> list[str]:
    return [comment.text for comment in site.adapter.get_task(site.task).comments]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_comment_whose_answer_is_lost_is_there_once(site: Site, kind: Kind) -> None:
    site.fail(kind, 1)
    comment(site)
    assert (site.count(), len(shown(site))) == (1, 1)


def test_a_comment_that_is_not_there_is_written_when_it_is_tried_again(site: Site) -> None:
    site.fail(500, 4)
    for _ in range(2):
        in_doubt(site)
        assert site.count() == 0
    comment(site)
    assert (site.count(), len(shown(site))) == (1, 1)


def test_a_comment_that_nobody_could_look_for_is_looked_for_when_it_is_tried_again(
    site: Site,
) -> None:
    site.fail("lost", 1)
    site.blind()
    in_doubt(site)
    assert site.count() == 1
    comment(site)
    assert (site.count(), len(shown(site))) == (1, 1)


def test_the_same_words_are_another_comment_once_the_first_is_known_to_be_there(
    site: Site,
) -> None:
    site.fail("lost", 1)
    site.blind()
    in_doubt(site)
    comment(site)
    comment(site)
    assert (site.count(), len(shown(site))) == (2, 2)


def test_another_comment_is_none_that_is_in_doubt(site: Site) -> None:
    site.fail(500, 2)
    in_doubt(site)
    comment(site, "The other half, too.")
    comment(site)
    assert shown(site)[0].startswith("The other half")
    assert (site.count(), len(shown(site))) == (2, 2)
