"""A new task that is created and has to be brought to its queue: what is remembered of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from athanore.errors import AnswerLostError, BoardAccessError, BoardError
from athanore.queue_adapters.tracker import looking
from athanore.queue_adapters.tracker.answers import MissingError


class _Tracker:
    """Numbers what is created; `refuses` is what the next step to its queue meets."""

    def __init__(self) -> None:
        self.writes = looking.Writes()
        self.created = 0
        self.refuses: BoardError | None = None
        self.gone = set[int]()

    def create(self) -> int:
        return self.writes.placed(
            "Todo", "Fix crash", "", lambda: "mark", self._send, lambda _: None, self._place
        )

    def _send(self, _mark: str) -> int:
        self.created += 1
        return self.created

    def _place(self, made: int) -> int:
        if self.refuses is not None:
            raise self.refuses
        if made in self.gone:
            raise MissingError("it is not there")
        return made


def test_a_task_that_the_tracker_does_not_find_yet_is_brought_to_its_queue_later() -> None:
    tracker = _Tracker()
    tracker.refuses = MissingError("it is not there")
    for _ in range(2):
        with pytest.raises(AnswerLostError, match="'Fix crash' is created, and is not in 'Todo'"):
            tracker.create()
    tracker.refuses = None
    assert (tracker.create(), tracker.create()) == (1, 2)


def test_a_task_that_was_deleted_meanwhile_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = _Tracker()
    tracker.refuses = MissingError("it is not there")
    with pytest.raises(AnswerLostError):
        tracker.create()
    monkeypatch.setattr(looking, "_LAG", timedelta(0))
    tracker.gone.add(1)
    tracker.refuses = None
    assert tracker.create() == 2


def test_a_refusal_is_said_as_it_is_and_the_task_is_the_same_when_it_is_tried_again() -> None:
    tracker = _Tracker()
    tracker.refuses = BoardAccessError("The account may not move it.")
    for _ in range(2):
        with pytest.raises(BoardAccessError, match="may not move"):
            tracker.create()
    tracker.refuses = None
    assert tracker.create() == 1
