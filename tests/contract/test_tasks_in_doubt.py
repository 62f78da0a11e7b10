"""New tasks whose answers are lost, on every board over HTTP: never lost, and never there twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore import Task
from athanore.errors import AnswerLostError, BoardError
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.wire import Kind
from tests.contract.sites import SITES, Site

BOARDS = ("github", "github-project", "gitlab", "jira", "linear", "planka")


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Each board, which has been read, and shows at once what was written."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))
    with SITES[request.param]() as site:
        assert shown(site) == []
        yield site


def create(site: Site, name: str = "Fix crash") -> Task:
    return site.adapter.create_task(site.prefix + site.made_in, name, "It happens on Tuesdays.")


def in_doubt(site: Site) -> None:
    """A task is made, and its adapter promises to look if it is made again."""
    with pytest.raises(AnswerLostError, match="'Fix crash' again") as caught:
        create(site)
    assert caught.value.may_repeat


def shown(site: Site) -> list[str]:
    return [task.id for task in site.adapter.get_ready_tasks([site.prefix + site.made_in])]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_task_whose_answer_is_lost_is_there_once(site: Site, kind: Kind) -> None:
    site.fail("task", kind, 1)
    if kind == 500 and not site.repeats:
        in_doubt(site)
    task = create(site)
    assert (site.count("task"), shown(site)) == (1, [task.id])
    assert site.adapter.get_task(task.id).description == "It happens on Tuesdays."


def test_a_task_that_is_not_there_is_made_when_it_is_tried_again(site: Site) -> None:
    site.fail("task", 500, 4 if site.repeats else 2)
    for _ in range(2):
        in_doubt(site)
        assert site.count("task") == 0
    task = create(site)
    assert (site.count("task"), shown(site)) == (1, [task.id])


def test_a_task_that_nobody_could_look_for_is_looked_for_when_it_is_tried_again(
    site: Site,
) -> None:
    site.fail("task", "lost", 1)
    site.blind("task")
    in_doubt(site)
    assert site.count("task") == 1
    task = create(site)
    assert (site.count("task"), shown(site)) == (1, [task.id])


def test_the_same_words_are_another_task_once_the_first_is_known_to_be_there(site: Site) -> None:
    site.fail("task", "lost", 1)
    site.blind("task")
    in_doubt(site)
    first = create(site)
    second = create(site)
    assert (site.count("task"), {first.id, second.id}) == (2, set(shown(site)))


def test_another_task_is_none_that_is_in_doubt(site: Site) -> None:
    site.fail("task", 500, 2 if site.repeats else 1)
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
    assert site.count("task") == 1
    assert caught.value.may_repeat
    unblock()
    site.blind("task")  # lists lag: it is known which one it is
    task = create(site)
    unblock()
    assert (site.count("task"), shown(site)) == (1, [task.id])
    assert create(site).id != task.id
