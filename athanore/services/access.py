"""How a use case gets at Prefect, without the board's part counting as Prefect's time."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from athanore.runs.port import RunStore
from athanore.runs.prefect_store import PrefectRunStore


class PrefectAccess(Protocol):
    """A way to Prefect for a few requests at a time."""

    def client(self) -> AbstractAsyncContextManager[RunStore]:
        """Give the store.

        Raises:
            PrefectUnavailableError: Prefect does not answer, or stops answering in the block.
        """
        ...


class WholePrefectAccess(Protocol):
    """A way to Prefect for a few requests, also for what is Prefect's alone, such as logs."""

    def client(self) -> AbstractAsyncContextManager[PrefectRunStore]:
        """Give the store, which is Prefect's client; see `PrefectAccess.client`."""
        ...
