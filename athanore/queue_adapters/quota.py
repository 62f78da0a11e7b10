"""The optional extra of the port for boards whose server counts requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from athanore.models import Quota


@runtime_checkable
class HasQuotas(Protocol):
    """An adapter that knows how much of its account's quotas is left.

    It is told with each answer, so that asking for it costs no request. Before a quota is used up
    the adapter reads less often by itself; what must be right now (a claim) it asks anyway.
    """

    def quotas(self) -> Sequence[Quota]:
        """What the server told last of each quota that is not reset since; empty if nothing."""
        ...
