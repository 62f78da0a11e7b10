"""How a use case gets at Prefect, without the board's part counting as Prefect's time."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from athanore.runs.port import RunStore


class PrefectAccess(Protocol):
    """A way to Prefect for a few requests at a time."""

    def client(self) -> AbstractAsyncContextManager[RunStore]:
        """Give the store.

        Raises:
            PrefectUnavailableError: Prefect does not answer, or stops answering in the block.
        """
        ...
