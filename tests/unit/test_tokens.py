"""Tokens of agent runs."""

from __future__ import annotations

from uuid import uuid4

from athanore import tokens


def test_a_token_names_its_run() -> None:
    run_id = uuid4()
    token = tokens.new_token(run_id)
    assert tokens.run_of(token) == run_id
    assert tokens.PATTERN.fullmatch(token)
    assert token != tokens.new_token(run_id)


def test_what_is_no_token_names_no_run() -> None:
    token = tokens.new_token(uuid4())
    for text in ("", "ath_", token[:-1], token + "x", "x" + token, token.upper()):
        assert tokens.run_of(text) is None


def test_the_attempt_of_a_token_is_found_by_its_digest() -> None:
    run_id = uuid4()
    one, two = tokens.new_token(run_id), tokens.new_token(run_id)
    labels: dict[str, object] = {
        "athanore.attempt": 2,
        tokens.label(1): tokens.digest(one),
        tokens.label(2): tokens.digest(two),
    }
    assert tokens.attempt_of(one, labels) == 1
    assert tokens.attempt_of(two, labels) == 2
    assert tokens.attempt_of(tokens.new_token(run_id), labels) is None
    assert one not in str(labels)
