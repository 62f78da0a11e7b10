"""A board's token: set in the environment or in `.env`, and checked before it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from athanore.errors import ConfigurationError


class TokenVariables(BaseSettings):
    """Variables of the environment or of `.env`, as other settings are; subclasses name them."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")


def first_set(values: Iterable[SecretStr | None]) -> str | None:
    """The first that is set, without the newline that it has from a file."""
    tokens = (value.get_secret_value().strip() for value in values if value)
    return next((token for token in tokens if token), None)


def checked(token: str, whose: str) -> str:
    """A token without blanks around it.

    Args:
        whose: for the message, such as `GitHub's octo-org/website`.

    Raises:
        ConfigurationError: no token looks so.
    """
    if not re.fullmatch(r"[!-~]+", token.strip()):
        raise ConfigurationError(
            f"The token for {whose} has blanks, line breaks or characters that no token has; copy "
            "it again."
        )
    return token.strip()


def variables_with(token: str, names: Iterable[str]) -> frozenset[str]:
    """Those of some variables of the environment that hold a token."""
    return frozenset(name for name in names if os.environ.get(name, "").strip() == token)
