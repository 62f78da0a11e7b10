"""Putting events in order: nothing lost, nothing twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore.api.events.event_log import AgentEventModel, LoggedEvent
from athanore.api.events.sequence import GAP_SECONDS, Cursor, Progress, Sequencer, earlier_runs

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int, source: str | None = "a", second: float | None = None) -> LoggedEvent:
    at = START + timedelta(seconds=number if second is None else second)
    model = AgentEventModel(
        id=str(UUID(int=number)), kind="output", at=at, run_id=None, data={"n": number}
    )
    return LoggedEvent(model, source, number)


def numbers(events: list[LoggedEvent]) -> list[int]:
    return [e.number for e in events]


def test_events_in_order_go_straight_through() -> None:
    sequencer = Sequencer()
    assert [numbers(sequencer.offer(event(n), 0)) for n in (1, 2, 3)] == [[1], [2], [3]]


def test_an_event_waits_for_those_before_it() -> None:
    sequencer = Sequencer()
    assert sequencer.offer(event(3), 0) == []
    assert sequencer.has_gap
    assert numbers(sequencer.offer(event(1), 0)) == [1]
    assert numbers(sequencer.offer(event(2), 0)) == [2, 3]
    assert not sequencer.has_gap


def test_sources_do_not_wait_for_each_other() -> None:
    sequencer = Sequencer()
    assert sequencer.offer(event(2, "a"), 0) == []
    assert numbers(sequencer.offer(event(1, "b"), 0)) == [1]


def test_any_order_with_repeats_comes_out_in_order_once() -> None:
    shuffler = random.Random(7)
    for _ in range(50):
        offered = [event(n) for n in range(1, 30)] * 2
        shuffler.shuffle(offered)
        sequencer = Sequencer()
        assert numbers([e for o in offered for e in sequencer.offer(o, 0)]) == list(range(1, 30))


def test_what_never_comes_is_given_up() -> None:
    sequencer = Sequencer()
    sequencer.offer(event(3), 100)
    assert sequencer.overdue(100 + GAP_SECONDS - 1) == []
    assert numbers(sequencer.overdue(100 + GAP_SECONDS + 1)) == [3]
    assert sequencer.offer(event(2), 200) == []


def test_a_source_that_was_joined_in_the_middle_begins_there() -> None:
    sequencer = Sequencer()
    assert sequencer.offer(event(7), 0) == []
    assert numbers(sequencer.settle(0, START + timedelta(seconds=60))) == [7]
    assert numbers(sequencer.offer(event(8), 0)) == [8]


def test_a_young_event_waits_for_those_that_may_be_on_their_way() -> None:
    """Comments that an agent posts at once: the first two come last, through the database."""
    sequencer = Sequencer()
    sequencer.offer(event(3), 0)
    assert sequencer.settle(0, START + timedelta(seconds=4)) == []
    assert [n for e in (1, 2) for n in numbers(sequencer.offer(event(e), 5))] == [1, 2, 3]


def test_events_without_a_number_come_once() -> None:
    sequencer = Sequencer()
    assert len(sequencer.offer(event(1, None), 0)) == 1
    assert sequencer.offer(event(1, None), 0) == []


def test_what_is_held_is_bounded() -> None:
    sequencer = Sequencer()
    due = [e for n in range(2, 2000) for e in sequencer.offer(event(n), 0)]
    assert numbers(due) == list(range(2, 2000))[: len(due)]
    assert len(due) > 1000


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_reader_that_is_cut_off_anywhere_goes_on_after_it(cut: int) -> None:
    sources = ["a", "b", None]
    all_events = [event(n, sources[n % 3], n) for n in range(1, 12)]
    numbered = {"a": 0, "b": 0}
    for index, e in enumerate(all_events):
        if e.source is not None:
            numbered[e.source] += 1
            all_events[index] = LoggedEvent(e.model, e.source, numbered[e.source])
    progress, first = Progress(), Sequencer()
    got = [e for o in all_events for e in first.offer(o, 0)][:cut]
    last = [progress.passed(e) for e in got][-1]
    second = Sequencer(Cursor.decode(last))
    got += [e for o in all_events for e in second.offer(o, 0)]
    assert [e.model.id for e in got] == [e.model.id for e in all_events]


def test_a_cursor_stays_short() -> None:
    progress = Progress()
    ids = [progress.passed(event(1, f"source-{n}", n * 10)) for n in range(200)]
    assert len(ids[-1]) < 400
    assert Cursor.decode(ids[-1]).at == START + timedelta(seconds=1990)


@pytest.mark.parametrize("text", ["", "x", "§", "bm8", "W10", "[1]", "WzEse30sMV0x"])
def test_a_cursor_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no event id"):
        Cursor.decode(text)


def run_at(minute: int) -> FlowRun:
    known = {"id": UUID(int=minute << 96), "flow_id": UUID(int=1)}
    return FlowRun.model_validate({**known, "created": START.replace(minute=minute)})


@pytest.mark.parametrize(
    ("came_from", "earlier"),
    [(None, [1, 2]), ([3], [1, 2]), ([2, 3], [1]), ([2], [1]), ([], [])],
    ids=["a new reader", "in the newest", "in both", "in the one before", "unknown"],
)
def test_what_was_over_before_a_stream_began_is_known_by_its_runs(
    came_from: list[int] | None, earlier: list[int]
) -> None:
    runs = [run_at(3), run_at(1), run_at(2)]
    cursor = None
    if came_from is not None:
        cursor = Cursor(START, {f"{str(run_at(n).id)[:13]}.1": 4 for n in came_from}, ())
    found = earlier_runs(runs, runs[0], cursor)
    assert found == {str(run_at(n).id) for n in earlier}
