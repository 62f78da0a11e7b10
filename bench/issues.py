"""How long polls of boards take that have 1,000 issues in a queue, on doubles of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from time import perf_counter

from bench.rig import Rig
from bench.table import Row
from tests.crowded_boards import BOARDS, QUEUES, Site

_ROUNDS = 5


def issues(rig: Rig) -> Iterator[Row]:
    """Requests and seconds of polls: the first one, and those that find nothing or one new."""
    for board, served in BOARDS.items():
        rig.say(board)
        with served() as site:
            queues = [f"{site.prefix}{queue}" for queue in QUEUES]
            site.adapter.prepare(tuple(queues))
            first = _poll(site, queues)
            _poll(site, queues)  # the first one that asks only for what has changed
            again = [_poll(site, queues) for _ in range(_ROUNDS)]
            changed: list[tuple[int, float]] = []
            for _ in range(_ROUNDS):
                site.add()
                changed.append(_poll(site, queues))
        figures = {"first": first, "unchanged": _median(again), "changed": _median(changed)}
        said = ", ".join(f"{what} {n} requests, {s:.2f} s" for what, (n, s) in figures.items())
        what = f"{board} with 1,000 issues in a queue: polls, the time of the double with them"
        yield Row("issues", what, "", said, None, figures)


def _poll(site: Site, queues: list[str]) -> tuple[int, float]:
    """The requests and seconds of a poll of all queues."""
    site.adapter.forget_picture()
    before, began = len(site.log), perf_counter()
    site.adapter.get_ready_tasks(queues)
    return len(site.log) - before, perf_counter() - began


def _median(polls: list[tuple[int, float]]) -> tuple[int, float]:
    requests, seconds = zip(*polls, strict=True)
    return int(median(requests)), median(seconds)
