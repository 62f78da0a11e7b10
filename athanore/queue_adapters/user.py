"""Whom an adapter assigns by default: the user of this process."""

from __future__ import annotations

import getpass
from enum import Enum
from typing import Final, Literal


class _Sentinel(Enum):
    LOGIN_NAME = "LOGIN_NAME"


LOGIN_NAME: Final = _Sentinel.LOGIN_NAME
"""The default of `user`: the name that this process is logged in with."""

type User = str | Literal[_Sentinel.LOGIN_NAME] | None
"""What `user=` takes: a name, `LOGIN_NAME`, or None to assign nobody."""


def user_name(user: User) -> str | None:
    """The name of a user; None for nobody, and where the system has no name, as in a container."""
    if user is not LOGIN_NAME:
        return user
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
