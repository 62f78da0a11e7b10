"""Which worker takes what, where some are slower than others, on a clock of the test's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid4

import pytest

from athanore.worker.taking.courtesy import Courtesy, Load, as_they_are_now

NEXT = 0.1
"""Seconds after which a worker looks again, when it took one of several."""


@dataclass
class Worker:
    """A worker that asks for runs, and has the answer after a time."""

    name: str
    answer_after: float
    limit: int | None = None
    agents: int = 0
    said: int = 0
    asks_at: float = 0.0
    courtesy: Courtesy = field(default_factory=Courtesy)

    @property
    def load(self) -> Load:
        return Load(self.name, self.agents, self.limit)

    @property
    def answer_at(self) -> float:
        return self.asks_at + self.answer_after

    def answered(self, due: list[UUID], others: Sequence[Worker], page: int = 200) -> None:
        """Take some of what is due, or leave it."""
        now, offered = self.answer_at, due[:page]
        self.courtesy.sees(offered, now)
        said = [Load(other.name, other.said, other.limit) for other in others]
        loads = as_they_are_now(said, sum(other.agents for other in others))
        taken, wait = self.courtesy.choose(offered, self.load, loads, now)
        due[:] = [run for run in due if run not in taken]
        self.agents += len(taken)
        self.asks_at = now + (NEXT if len(offered) == page else max(wait or 0, NEXT))


def named(answers_after: Sequence[float]) -> list[Worker]:
    return [Worker(f"host-{n}", seconds) for n, seconds in enumerate(answers_after)]


def share(
    workers: Sequence[Worker], tasks: int, page: int = 200, says_every: float = math.inf
) -> float:
    """Offer so many runs at once; returns when all are taken.

    Args:
        page: how many of them are offered at a time.
        says_every: seconds after which all workers say again what they have.
    """
    rng = Random(tasks)
    due, says_at = [UUID(int=rng.getrandbits(128)) for _ in range(tasks)], says_every
    now = 0.0
    while due:
        next_one = min(workers, key=lambda worker: worker.answer_at)
        if (now := next_one.answer_at) >= says_at:
            says_at += says_every
            for worker in workers:
                worker.said = worker.agents
                worker.courtesy.heard()
        next_one.answered(due, [w for w in workers if w is not next_one], page)
    return now


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
    workers = named(answers_after)
    share(workers, tasks)
    even, within = tasks / len(workers), 1 if len(workers) == 2 else 2
    have = [w.agents for w in workers]
    assert even - within <= min(have) <= max(have) <= even + within, have


def test_those_that_have_equally_much_wait_for_nobody() -> None:
    workers = named((0.0, 0.0))
    assert share(workers, 100) < 1
    assert [w.agents for w in workers] == [50, 50]


def test_a_thousand_runs_keep_ten_workers_busy_to_the_last() -> None:
    workers = named([0.05] * 10)
    assert share(workers, 1000, page=40, says_every=5.0) < 30
    have = [w.agents for w in workers]
    assert 95 <= min(have) <= max(have) <= 105, have


def takes(run: UUID, own: Load, workers: Sequence[Load], at: float, asks_every: float) -> bool:
    """Whether a worker takes a run that has been offered since 0."""
    courtesy = Courtesy()
    courtesy.sees([run], 0.0)
    others = [load for load in workers if load != own]
    return courtesy.choose([run], own, others, at, asks_every)[0] == [run]


def test_where_prefect_answers_slowly_a_run_falls_to_one_worker_first() -> None:
    run, workers = uuid4(), [Load("a", 0), Load("b", 0), Load("c", 0)]
    for at in (0.0, 3.9):
        assert [takes(run, load, workers, at, 2.0) for load in workers].count(True) == 1
    assert all(takes(run, load, workers, 4.0, 2.0) for load in workers)


def test_where_prefect_answers_soon_one_run_is_taken_at_once_by_whoever_sees_it() -> None:
    run, workers = uuid4(), [Load("a", 0), Load("b", 0), Load("c", 0)]
    assert all(takes(run, load, workers, 0.0, 0.5) for load in workers)


def test_workers_that_see_the_same_runs_take_mostly_different_ones() -> None:
    rng, a, b = Random(1), Load("a", 0), Load("b", 0)
    due = [UUID(int=rng.getrandbits(128)) for _ in range(40)]
    took: list[set[UUID]] = []
    for own, other in ((a, b), (b, a)):
        courtesy = Courtesy()
        courtesy.sees(due, 0.0)
        took.append(set(courtesy.choose(due, own, [other], 0.0)[0]))
    assert [len(runs) for runs in took] == [20, 20]
    assert len(took[0] & took[1]) <= 4


def test_one_that_takes_nothing_holds_the_others_up_once_and_not_for_each_run() -> None:
    workers = named((0.0, 1e9))
    due = [uuid4() for _ in range(50)]
    while due:
        workers[0].answered(due, workers[1:])
    assert workers[0].asks_at < 5 + 50 * 2 * NEXT


def test_a_limit_makes_a_share_larger_or_smaller() -> None:
    small, big = Worker("small", 0.02, limit=8), Worker("big", 0.02, limit=24)
    share([small, big], 16)
    assert 3 <= small.agents <= 5
    assert Load("", 1, 2).ahead_of(Load("", 3, 6)) == 0
    assert Load("", 3, 4).ahead_of(Load("", 3)) == 0, "without a limit it has no share that is full"


def test_none_takes_more_than_its_limit_and_the_rest_is_for_the_others() -> None:
    small, big = Worker("small", 0.02, limit=4), Worker("big", 0.02)
    assert share([small, big], 100) < 5 + 100 * 2 * NEXT
    assert (small.agents, big.agents) == (4, 96)


def left_for(courtesy: Courtesy, run: UUID, own: int, others: Sequence[Load], now: float) -> float:
    """For how long a worker with so many agents leaves a run; it takes it if it does not."""
    taken, wait = courtesy.choose([run], Load("me", own), others, now)
    assert (wait is None) == (taken == [run])
    return wait or 0.0


def test_the_more_it_has_the_longer_it_waits_and_never_for_long() -> None:
    run = uuid4()

    def waits(agents: int) -> float:
        courtesy = Courtesy()
        courtesy.sees([run], 0.0)
        return left_for(courtesy, run, agents, [Load("one", 1), Load("two", 1)], 0.0)

    assert waits(0) == 0
    assert 0 < waits(3) < waits(4) < waits(100) == waits(1000) <= 2


def test_what_others_took_since_they_said_so_was_taken_by_the_emptiest() -> None:
    said = [Load("one", 3), Load("two", 0), Load("three", 1)]

    def now(have: int) -> list[int]:
        return [load.agents for load in as_they_are_now(said, have)]

    assert now(4) == [3, 0, 1]
    assert now(6) == [3, 1, 2] or now(6) == [3, 2, 1]
    assert now(9) == [3, 3, 3]
    assert now(2) == [1, 0, 1], "some have ended"
    assert as_they_are_now([Load("small", 1, 2)], 2) == [], "it is full now"
    assert as_they_are_now([], 5) == []


def test_each_lot_of_runs_is_left_to_others_anew() -> None:
    courtesy, others = Courtesy(), [Load("one", 0)]
    first, second, third = (uuid4() for _ in range(3))
    courtesy.sees([first], 0.0)
    assert left_for(courtesy, first, 3, others, 0.0) > 0
    assert left_for(courtesy, first, 3, others, 5.0) == 0, "nobody took it"
    courtesy.sees([], 5.0)
    courtesy.sees([second], 9.0)
    assert left_for(courtesy, second, 3, others, 9.0) > 0
    courtesy.sees([third], 20.0)
    assert left_for(courtesy, third, 3, others, 20.0) > 0


def test_a_run_that_is_hidden_for_a_moment_was_taken_by_nobody() -> None:
    courtesy, others, run = Courtesy(), [Load("one", 0)], uuid4()
    courtesy.sees([run], 0.0)
    courtesy.sees([], 0.1)
    courtesy.sees([run], 0.2)
    at_first = left_for(courtesy, run, 2, others, 0.1)
    assert 0 < left_for(courtesy, run, 2, others, 0.2) < at_first
