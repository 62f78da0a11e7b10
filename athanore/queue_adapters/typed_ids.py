"""The optional extra of the port for boards whose people call tasks otherwise than by their ids."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class HasTypedIds(Protocol):
    """An adapter that knows tasks by another name that people type, such as `ENG-12`."""

    def id_of(self, text: str) -> str:
        """The id of the task that is called so; a text that is no such name comes back as it is.

        Raises:
            TaskNotFoundError: it looks like such a name, and no task is called so.
        """
        ...
