"""A worker is lost after so much silence that we could have heard it, by a clock nobody can set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from athanore.runtime.leases.liveness import Liveness

POOL, NAME = W = "pool", "AthanoreWorker 3f2c"
BEAT = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """The clock that a `Liveness` reads, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watched(clock: Clock, *steps: tuple[float, datetime | None]) -> Liveness:
    """Look at worker `w` after each pause, with the heartbeat that it then has."""
    watch = Liveness(timedelta(seconds=100), monotonic=clock.monotonic)
    for pause, beat in steps:
        clock.now += pause
        watch.observe(POOL, {} if beat is None else {NAME: beat})
    return watch


def test_a_silent_worker_is_lost_after_its_time(clock: Clock) -> None:
    assert not watched(clock, (0, BEAT), (50, BEAT), (49, BEAT)).is_lost(W)
    assert watched(clock, (0, BEAT), (50, BEAT), (50, BEAT)).is_lost(W)


def test_a_heartbeat_starts_the_time_anew(clock: Clock) -> None:
    later = BEAT + timedelta(seconds=1)
    assert not watched(clock, (0, BEAT), (60, BEAT), (60, later), (60, later)).is_lost(W)


def test_a_worker_that_prefect_has_forgotten_is_silent(clock: Clock) -> None:
    assert watched(clock, (0, BEAT), (50, None), (50, None), (50, None)).is_lost(W)


def test_time_in_which_nobody_could_look_counts_little(clock: Clock) -> None:
    assert not watched(clock, (0, BEAT), (3600, BEAT)).is_lost(W)


def test_one_that_was_never_seen_gets_its_time(clock: Clock) -> None:
    watch = watched(clock, (0, None))
    assert not watch.is_lost(W)
    for _ in range(2):
        clock.now += 50
        watch.observe(POOL, {})
    assert watch.is_lost(W)


def test_one_that_is_seen_for_the_first_time_begins_with_no_silence(clock: Clock) -> None:
    """Nobody looks while no run is on another host; the worker that has one then may be new."""
    watch = Liveness(timedelta(seconds=50), monotonic=clock.monotonic)
    watch.observe(POOL, {})
    clock.now += 3600
    watch.observe(POOL, {NAME: BEAT})
    assert not watch.is_lost(W)
    clock.now += 49
    watch.observe(POOL, {NAME: BEAT})
    assert not watch.is_lost(W)


def test_a_step_of_the_wall_clock_changes_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched(clock, (0, BEAT), (10, BEAT))
    now = time.time()
    for step in (86_400, -86_400):
        monkeypatch.setattr(time, "time", lambda step=step: now + step)
        clock.now += 10
        watch.observe(POOL, {NAME: BEAT})
    assert not watch.is_lost(W)


def test_a_look_at_another_pool_says_nothing_of_a_worker(clock: Clock) -> None:
    """The pool of polls is looked at more rarely than that of agent runs."""
    watch = watched(clock, (0, BEAT))
    for _ in range(9):
        clock.now += 10
        watch.observe("other", {NAME: BEAT})
    assert not watch.is_lost(W)
    clock.now += 10
    watch.observe(POOL, {NAME: BEAT + timedelta(seconds=99)})
    assert not watch.is_lost(W)
    for _ in range(2):
        clock.now += 50
        watch.observe("other", {})
        watch.observe(POOL, {NAME: BEAT + timedelta(seconds=99)})
    assert watch.is_lost(W)
