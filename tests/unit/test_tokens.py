"""Tokens of agent runs."""

from __future__ import annotations

from uuid import uuid4

import pytest

from athanore.runs.records import tokens


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


@pytest.mark.parametrize("key", [None, b"the operators' key"])
def test_the_start_of_a_token_is_found_by_its_proof(key: bytes | None) -> None:
    run_id = uuid4()
    one, two = tokens.new_token(run_id), tokens.new_token(run_id)
    proofs = {
        1: tokens.proof(one, 1, "7", key),
        2: tokens.proof(two, 2, "7", key),
        3: "ein Beweis ist das nicht: ä",
    }
    assert tokens.start_of(one, proofs, "7", key) == 1
    assert tokens.start_of(two, proofs, "7", key) == 2
    assert tokens.start_of(tokens.new_token(run_id), proofs, "7", key) is None
    assert one not in str(proofs)


def test_with_a_key_nobody_else_makes_a_token_count() -> None:
    """Whoever can write the labels and tags of runs in Prefect tries this."""
    key, run_id = b"the operators' key", uuid4()
    token = tokens.new_token(run_id)
    for kept in (
        tokens.proof(token, 1, "7", None),
        tokens.proof(token, 1, "7", b"a guess"),
        tokens.proof(token, 1, "8", key),
        tokens.proof(token, 2, "7", key),
        tokens.proof(tokens.new_token(run_id), 1, "7", key),
    ):
        assert tokens.start_of(token, {1: kept}, "7", key) is None
