"""The optional extra of the port for boards that answer from what they have read a moment ago."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class KeepsPicture(Protocol):
    """An adapter that answers several polls from one reading of its board.

    A webhook may reach another process than the one that polls. The poll that it asks for says so,
    and nothing that was read before answers it.
    """

    def forget_picture(self) -> None:
        """Have the next call see the board as it is then; what was just written stays true."""
        ...
