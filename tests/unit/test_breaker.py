"""A route is paused after so many like failures in a row, over as many tasks."""

from __future__ import annotations

from athanore import AgentOutcome, AgentResult
from athanore.routing.routes import Route
from athanore.runtime.breaker import Breaker
from tests.harness import prompt

ROUTE = Route("Todo", prompt, pause_after_failures=3)


def failure(reason: str = "exit code 1") -> AgentResult:
    return AgentResult(AgentOutcome.FAILED, reason)


def test_the_third_like_failure_pauses_and_so_do_all_after_it() -> None:
    breaker = Breaker()
    assert [breaker.failed(ROUTE, t, failure()) for t in "abcd"] == [False, False, True, True]


def test_attempts_of_one_task_count_once() -> None:
    breaker = Breaker()
    assert not any(breaker.failed(ROUTE, "a", failure()) for _ in range(9))


def test_another_kind_of_failure_or_a_success_starts_anew() -> None:
    breaker = Breaker()
    assert not breaker.failed(ROUTE, "a", failure())
    assert not breaker.failed(ROUTE, "b", failure())
    assert not breaker.failed(ROUTE, "c", failure("exit code 2"))
    assert not breaker.failed(ROUTE, "d", failure("exit code 2"))
    breaker.succeeded(ROUTE)
    assert not breaker.failed(ROUTE, "e", failure("exit code 2"))


def test_after_a_resume_the_next_like_failure_pauses_again_at_once() -> None:
    breaker = Breaker()
    assert [breaker.failed(ROUTE, t, failure()) for t in "abc"][-1]
    breaker.attempt_starts(ROUTE)
    assert breaker.failed(ROUTE, "d", failure())


def test_so_does_the_task_that_paused_the_route() -> None:
    breaker = Breaker()
    assert [breaker.failed(ROUTE, t, failure()) for t in "abc"][-1]
    breaker.attempt_starts(ROUTE)
    assert breaker.failed(ROUTE, "c", failure())


def test_after_a_resume_another_kind_of_failure_counts_from_the_start() -> None:
    breaker = Breaker()
    assert [breaker.failed(ROUTE, t, failure()) for t in "abc"][-1]
    breaker.attempt_starts(ROUTE)
    assert not breaker.failed(ROUTE, "d", failure("timed out"))


def test_the_time_that_an_agent_took_makes_no_difference() -> None:
    breaker = Breaker()
    reasons = ["stalled: nothing heard for 3 s", "stalled: nothing heard for 9 s"]
    assert not breaker.failed(ROUTE, "a", failure(reasons[0]))
    assert not breaker.failed(ROUTE, "b", failure(reasons[1]))
    assert breaker.failed(ROUTE, "c", failure(reasons[0]))
