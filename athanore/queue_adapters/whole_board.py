"""The optional extra of the port with which a whole board goes from one place to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class SupportsCopy(Protocol):
    """An adapter whose whole board can be taken out, and put into an empty one."""

    def export_board(self) -> dict[str, Any]:
        """Return the board in the format of the JSON file, as of one moment."""
        ...

    def import_board(self, board: Mapping[str, Any]) -> None:
        """Put in a board in the format of the JSON file, all or nothing; ids stay what they are.

        The queues of the board come first, in its order, and those that are there follow.

        Raises:
            ConfigurationError: there are tasks already, or the board has some that cannot be read.
            InvalidTaskError: a value that this board cannot take.
        """
        ...
