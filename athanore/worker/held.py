"""The runs that a worker has, and where each of them is registered while its flow works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore.runtime.apps import App
from athanore.runtime.leases.lease import Lease
from athanore.runtime.leases.local_runs import LocalRuns, StopReason
from athanore.runtime.registry import app_of_run


class HeldRuns:
    """Notes with each run's app which worker has it; a run of another app is refused elsewhere.

    Args:
        apps: tells which apps the worker serves.
    """

    def __init__(self, apps: Callable[[], Sequence[App]]) -> None:
        self._apps = apps
        self._known: dict[UUID, LocalRuns] = {}
        self._names: dict[UUID, str] = {}

    def known(self) -> Mapping[UUID, LocalRuns]:
        """The runs that the worker has."""
        return self._known

    def names(self) -> list[str]:
        """What these runs are called."""
        return list(self._names.values())

    def hold(self, run: FlowRun, worker: str, lease: Lease | None) -> None:
        """Note that the worker has a run."""
        app = app_of_run(self._apps(), run.tags, str(run.parameters.get("app")))
        if app is not None:
            self._names[run.id] = run.name
            self._known[run.id] = app.local_runs
            app.local_runs.hold(run.id, worker, lease)

    def forget(self, run: FlowRun) -> None:
        """Note that a run has ended."""
        self._names.pop(run.id, None)
        if (local_runs := self._known.pop(run.id, None)) is not None:
            local_runs.forget(run.id)

    def stop(self, reason: StopReason) -> None:
        """Stop the agents of all runs that the worker has."""
        for run_id, local_runs in list(self._known.items()):
            local_runs.stop(run_id, reason)
