"""Which worker takes what, where some are slower than others, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from athanore.worker.taking.courtesy import Courtesy, Load

NEXT = 0.1
"""Seconds after which a worker looks again, when it took one of several."""


@dataclass
class Worker:
    """A worker that asks for runs, and has the answer after a time."""

    answer_after: float
    limit: int | None = None
    agents: int = 0
    said: int = 0
    asks_at: float = 0.0
    courtesy: Courtesy = field(default_factory=Courtesy)

    @property
    def load(self) -> Load:
        return Load(self.agents, self.limit)

    @property
    def answer_at(self) -> float:
        return self.asks_at + self.answer_after

    def answered(self, due: list[UUID], others: Sequence[Worker]) -> None:
        """Take one of what is due, or leave it."""
        now = self.answer_at
        self.courtesy.sees(due, now)
        if not due:
            self.asks_at = now + NEXT
            return
        said = [Load(other.said, other.limit) for other in others]
        wait = self.courtesy.wait(due[0], self.load, said, now)
        if not wait:
            self.courtesy.takes(due[0], now)
            del due[0]
            self.agents += 1
        self.asks_at = now + (wait or NEXT)


def share(workers: Sequence[Worker], tasks: int) -> float:
    """Offer so many runs at once; returns when all are taken. Nobody says meanwhile what it has."""
    due = [uuid4() for _ in range(tasks)]
    while due:
        next_one = min(workers, key=lambda worker: worker.answer_at)
        next_one.answered(due, [w for w in workers if w is not next_one])
    return max(worker.asks_at for worker in workers)


@pytest.mark.parametrize(
    ("answers_after", "tasks"),
    [
        ((0.02, 0.02), 8),
        ((0.02, 0.3), 8),
        ((0.02, 0.02, 0.3, 0.3), 6),
        ((0.02, 0.3, 0.3, 0.3), 8),
        ((0.02, 0.3, 0.3, 0.3), 40),
        ((0.3, 0.4, 0.5, 0.6), 40),
    ],
)
def test_workers_that_are_slow_to_ask_get_their_share(
    answers_after: Sequence[float], tasks: int
) -> None:
    workers = [Worker(seconds) for seconds in answers_after]
    share(workers, tasks)
    even, within = tasks / len(workers), 1 if tasks < 10 else 2
    have = [w.agents for w in workers]
    assert even - within <= min(have) <= max(have) <= even + within, have


def test_those_that_have_equally_much_wait_for_nobody() -> None:
    workers = [Worker(0.0), Worker(0.0)]
    assert share(workers, 100) < 100 / 2 * 2 * NEXT
    assert [w.agents for w in workers] == [50, 50]


def test_one_that_takes_nothing_holds_the_others_up_once_and_not_for_each_run() -> None:
    workers = [Worker(0.0), Worker(1e9)]
    due = [uuid4() for _ in range(50)]
    while due:
        workers[0].answered(due, workers[1:])
    assert workers[0].asks_at < 5 + 50 * 2 * NEXT


def test_a_limit_makes_a_share_larger_or_smaller() -> None:
    small, big = Worker(0.02, limit=8), Worker(0.02, limit=24)
    share([small, big], 16)
    assert 3 <= small.agents <= 5
    assert Load(1, 2).ahead_of(Load(3, 6)) == 0
    assert Load(3, 4).ahead_of(Load(3)) == 0, "one without a limit has no share that is full"


def test_the_more_it_has_the_longer_it_waits_and_never_for_long() -> None:
    def waits(agents: int) -> float:
        courtesy, run = Courtesy(), uuid4()
        courtesy.sees([run], 0.0)
        return courtesy.wait(run, Load(agents), [Load(1), Load(9)], 0.0)

    assert [waits(agents) for agents in (0, 1)] == [0, 0]
    assert 0 < waits(2) < waits(3) < waits(4) < waits(100) == waits(1000) <= 2


def test_what_others_took_counts_until_they_say_it_themselves() -> None:
    courtesy, others = Courtesy(), [Load(0), Load(0)]
    runs = [uuid4() for _ in range(5)]
    courtesy.sees(runs, 0.0)
    assert courtesy.wait(runs[-1], Load(1), others, 0.0)
    courtesy.sees(runs[2:], 0.0)
    assert not courtesy.wait(runs[-1], Load(1), others, 0.0), "each of them has one now"
    assert courtesy.wait(runs[-1], Load(2), others, 0.0)
    courtesy.heard()
    assert courtesy.wait(runs[-1], Load(1), others, 0.0)
    courtesy.takes(runs[2], 1.0)
    courtesy.sees(runs[3:], 1.0)
    assert courtesy.wait(runs[-1], Load(1), others, 1.0), "this one it took itself"


def test_each_lot_of_runs_is_left_to_others_anew() -> None:
    courtesy, others = Courtesy(), [Load(0)]
    first, second, third = (uuid4() for _ in range(3))
    courtesy.sees([first], 0.0)
    assert courtesy.wait(first, Load(3), others, 0.0) > 0
    assert courtesy.wait(first, Load(3), others, 5.0) == 0, "nobody took it"
    courtesy.sees([], 5.0)
    courtesy.sees([second], 9.0)
    assert courtesy.wait(second, Load(3), others, 9.0) > 0
    courtesy.takes(second, 9.5)
    courtesy.sees([third], 20.0)
    assert courtesy.wait(third, Load(3), others, 20.0) > 0


def test_a_run_that_is_hidden_for_a_moment_was_taken_by_nobody() -> None:
    courtesy, others, run = Courtesy(), [Load(0)], uuid4()
    courtesy.sees([run], 0.0)
    courtesy.sees([], 0.1)
    courtesy.sees([run], 0.2)
    assert 0 < courtesy.wait(run, Load(1), others, 0.2) < courtesy.wait(run, Load(1), others, 0.1)
