"""Rate limits: how long a server is left alone, and what of that the task API says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from athanore.api.problems import problem_of
from athanore.errors import BoardUnavailableError
from athanore.http_client.limits import RateLimit


class Clock:
    """A clock that stands still."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def wait(limit: RateLimit) -> float:
    """The seconds for which nothing may be sent."""
    try:
        limit.check()
    except BoardUnavailableError as exc:
        assert exc.retry_after is not None
        return exc.retry_after.total_seconds()
    return 0


def test_a_limit_lasts_as_long_as_the_server_says() -> None:
    clock = Clock()
    limit = RateLimit("GitHub", clock)
    assert wait(limit) == 0
    limit.refused(timedelta(seconds=90))
    limit.refused(timedelta(seconds=20))
    assert wait(limit) == 90
    clock.seconds += 89
    assert wait(limit) == 1
    clock.seconds += 1
    assert wait(limit) == 0


def test_a_server_that_does_not_say_is_left_alone_twice_as_long_each_time() -> None:
    clock = Clock()
    limit = RateLimit("GitHub", clock)
    waits: list[float] = []
    for _ in range(8):
        limit.refused(None)
        waits.append(wait(limit))
        clock.seconds += waits[-1]
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    limit.accepted()
    limit.refused(None)
    assert wait(limit) == 60


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(None, "5"), (timedelta(seconds=61.2), "62"), (timedelta(seconds=0.1), "1")],
)
def test_the_task_api_passes_it_on(retry_after: timedelta | None, header: str) -> None:
    problem = problem_of(BoardUnavailableError("later", retry_after=retry_after))
    assert problem.status == 503
    assert problem.headers == {"Retry-After": header}
