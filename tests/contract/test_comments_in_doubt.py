"""Comments whose answers are lost, on every board over HTTP: never lost, and never there twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from athanore.errors import AnswerLostError
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.wire import Kind
from tests.contract.sites import SITES, Site

BOARDS = ("github", "github-several", "github-project", "gitlab", "jira", "linear", "planka")
TEXT = "Half of it works. @octocat"


@dataclass(frozen=True)
class Talk:
    """A task of a board."""

    site: Site
    task: str


@pytest.fixture(params=BOARDS)
def talk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """A task of each board, which shows at once what was written."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))
    with SITES[request.param]() as site:
        yield Talk(site, site.new("Todo"))


def comment(talk: Talk, text: str = TEXT) -> None:
    talk.site.adapter.add_comment(talk.task, text)


def in_doubt(talk: Talk) -> None:
    """A comment is tried, and its adapter promises to look if it is tried again."""
    with pytest.raises(AnswerLostError) as caught:
        comment(talk)
    assert caught.value.may_repeat


def shown(talk: Talk) -> list[str]:
    return [comment.text for comment in talk.site.adapter.get_task(talk.task).comments]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_comment_whose_answer_is_lost_is_there_once(talk: Talk, kind: Kind) -> None:
    talk.site.fail("comment", kind, 1)
    comment(talk)
    assert (talk.site.count("comment"), len(shown(talk))) == (1, 1)


def test_a_comment_that_is_not_there_is_written_when_it_is_tried_again(talk: Talk) -> None:
    talk.site.fail("comment", 500, 4)
    for _ in range(2):
        in_doubt(talk)
        assert talk.site.count("comment") == 0
    comment(talk)
    assert (talk.site.count("comment"), len(shown(talk))) == (1, 1)


def test_a_comment_that_nobody_could_look_for_is_looked_for_when_it_is_tried_again(
    talk: Talk,
) -> None:
    talk.site.fail("comment", "lost", 1)
    talk.site.blind("comment")
    in_doubt(talk)
    assert talk.site.count("comment") == 1
    comment(talk)
    assert (talk.site.count("comment"), len(shown(talk))) == (1, 1)


def test_the_same_words_are_another_comment_once_the_first_is_known_to_be_there(
    talk: Talk,
) -> None:
    talk.site.fail("comment", "lost", 1)
    talk.site.blind("comment")
    in_doubt(talk)
    comment(talk)
    comment(talk)
    assert (talk.site.count("comment"), len(shown(talk))) == (2, 2)


def test_another_comment_is_none_that_is_in_doubt(talk: Talk) -> None:
    talk.site.fail("comment", 500, 2)
    in_doubt(talk)
    comment(talk, "The other half, too.")
    comment(talk)
    assert shown(talk)[0].startswith("The other half")
    assert (talk.site.count("comment"), len(shown(talk))) == (2, 2)
