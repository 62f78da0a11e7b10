"""The port to Prefect's deployments that an agent is given with its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from athanore.models import AgentOutcome


@dataclass(frozen=True, slots=True)
class DeployedRun:
    """A run of a deployment as it is now.

    Attributes:
        id: its id.
        url: its page in Prefect's UI.
        state: the name of its state, for people.
        message: what the state says.
        outcome: what came of it; None while it has not ended.
    """

    id: str
    url: str
    state: str
    message: str
    outcome: AgentOutcome | None = None


class Deployments(Protocol):
    """Runs of deployments that belong to one attempt."""

    async def start(self, deployment: str, parameters: Mapping[str, Any]) -> DeployedRun:
        """Start a run, or return the one that this attempt has started; others are cancelled.

        Raises:
            DispatchError: there is no such deployment.
            ValueError: it does not take such parameters.
        """
        ...

    async def look(self, run_id: str) -> DeployedRun:
        """Read how a run is.

        Raises:
            DispatchError: it was deleted.
        """
        ...

    async def lines(self, run_id: str, seen: int) -> list[str]:
        """Read what a run has logged, without so many lines of the beginning."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Ask for the end of a run; safe to repeat."""
        ...
