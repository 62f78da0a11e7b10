"""What the API says of a write whose answer the board lost."""

from __future__ import annotations

from athanore.api.problems import problem_of
from athanore.errors import AnswerLostError


def test_a_write_that_may_have_been_done_is_not_answered_like_one_that_was_not() -> None:
    problem = problem_of(AnswerLostError("It may have been done."))
    assert (problem.status, problem.kind) == (409, "answer-lost")
    assert "Retry-After" not in problem.headers
