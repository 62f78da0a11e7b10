"""How a use case gets at Prefect, without the board's part counting as Prefect's time."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from prefect.client.orchestration import PrefectClient


class PrefectAccess(Protocol):
    """A way to Prefect for a few requests at a time."""

    def client(self) -> AbstractAsyncContextManager[PrefectClient]:
        """Give a client.

        Raises:
            PrefectUnavailableError: Prefect does not answer, or stops answering in the block.
        """
        ...
