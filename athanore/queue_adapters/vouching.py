"""Boards that know which authors of comments may write to them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class VouchesForAuthors(Protocol):
    """A board whose comments say whether their authors may write to it.

    Where agents, or anybody, can write comments under other names, it must not have this.
    """

    @property
    def vouches_for_authors(self) -> bool:
        """Whether `author_may_write` of its comments can be relied on."""
        ...
