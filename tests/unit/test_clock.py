"""Prefect's time of day is what its answers say, where our own clock says something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from athanore.runs.connection.clock import Clock

NEARLY = timedelta(seconds=5)


@pytest.fixture
def clock() -> Clock:
    """The clock of an app that has not heard anything yet."""
    return Clock()


def header(difference: timedelta) -> str:
    """What a server writes whose clock differs from ours by so much."""
    return format_datetime(datetime.now(UTC) + difference, usegmt=True)


@pytest.mark.parametrize("hours", [3, -3])
def test_prefects_clock_counts(clock: Clock, hours: int) -> None:
    clock.heard(header(timedelta(hours=hours)))
    assert abs(clock.now() - datetime.now(UTC) - timedelta(hours=hours)) < NEARLY


def test_a_clock_that_is_set_right_again_counts_as_before(clock: Clock) -> None:
    clock.heard(header(timedelta(hours=3)))
    clock.heard(header(timedelta(0)))
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=4)


def test_a_slow_answer_is_no_difference(clock: Clock) -> None:
    clock.heard(header(timedelta(seconds=-8)))
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=4)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Nov 2026 02:24:53 GMT"])
def test_an_answer_that_does_not_tell_the_time_changes_nothing(
    clock: Clock, date: str | None
) -> None:
    clock.heard(header(timedelta(hours=3)))
    clock.heard(date)
    assert clock.now() - datetime.now(UTC) > timedelta(hours=2)
