"""Whether the author of a comment may write to the board, where the tracker has to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from athanore.errors import AthanoreError
from athanore.http_client.cache import Cache
from athanore.models import Comment

_AGE: Final = timedelta(minutes=5)


class Authors:
    """Who may write; each author is asked for once in five minutes.

    Args:
        may_write: asks the tracker about an author, by what it calls him. Never true of the
            account that the board itself is written with: agents' comments are by it.
    """

    def __init__(self, may_write: Callable[[str], bool]) -> None:
        self._known = Cache(may_write, _AGE)

    def vouched(self, comment: Comment, author: str | None) -> Comment:
        """The comment, with whether its author may write, if it may be a command to us.

        Of all others nobody asks, and they are not vouched for.
        """
        may = False
        if author and comment.text.lstrip().startswith("/"):
            try:
                may = self._known.get(author)
            except AthanoreError:
                may = False  # nobody knows now; the next look asks again
        return replace(comment, author_may_write=may)
