"""The variables that the board's key stands in."""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr

from athanore.queue_adapters.tracker.tokens import TokenVariables, first_set, variables_with

OWN_VARIABLE: Final = "ATHANORE_LINEAR_API_KEY"
"""The board's key, for people whose agents have another one in LINEAR_API_KEY."""

COMMON_VARIABLE: Final = "LINEAR_API_KEY"


class _Variables(TokenVariables):
    """The key of the board, in the environment or in `.env`."""

    athanore_linear_api_key: SecretStr | None = None
    linear_api_key: SecretStr | None = None


def key_of_the_environment() -> str | None:
    """The key that is set; the board's own first."""
    found = _Variables()
    return first_set((found.athanore_linear_api_key, found.linear_api_key))


def secret_variables(key: str) -> frozenset[str]:
    """The variables that agents must not inherit."""
    return frozenset({OWN_VARIABLE}) | variables_with(key, (COMMON_VARIABLE,))
