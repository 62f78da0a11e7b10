"""Which runs nobody works on any more, because their worker or its host is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.processes import identity
from athanore.runs.port import RunStore
from athanore.runs.records.record import Holder, holder_of
from athanore.runtime.apps import App


class LostWorkers:
    """Finds the runs of an app whose worker is lost."""

    def __init__(self, prefect: RunStore, app: App) -> None:
        self._prefect = prefect
        self._app = app

    async def find_lost(self, active: Sequence[FlowRun]) -> list[tuple[FlowRun, bool]]:
        """Return those runs that nobody works on, each with whether that is sure."""
        holders = {run.id: await self._holder(run) for run in active}
        await self._observe_workers([(run, holders[run.id]) for run in active])
        return [
            (run, not self._is_unknown(run, holders[run.id]))
            for run in active
            if self._is_gone(run, holders[run.id])
        ]

    def age_of(self, run: FlowRun) -> timedelta:
        """How long the run has been in its state."""
        since = run.state.timestamp if run.state else None
        return timedelta(0) if since is None else self._app.clock.now() - since

    async def _holder(self, run: FlowRun) -> Holder | None:
        """Find out who has a run; None if nobody has said so (yet)."""
        if run.state_type is StateType.PENDING:
            return Holder.parse(run.state.message if run.state else None)
        if (holder := holder_of(run)) is not None or self.age_of(run) < self._app.margins.noting:
            return holder
        # The worker was lost, or is slow, before the flow noted it; it left its name when it took
        # the run.
        states = await self._prefect.read_states(run.id)
        taken = [s for s in states if s.type is StateType.PENDING]
        newest = max(taken, key=lambda s: s.timestamp, default=None)
        return Holder.parse(newest.message) if newest else None

    def _is_gone(self, run: FlowRun, holder: Holder | None) -> bool:
        """Tell whether nobody works on a run that says so."""
        local_runs = self._app.local_runs
        if local_runs.is_held(run.id) or local_runs.is_running(run.id):
            return False
        age = self.age_of(run)
        if holder is None:  # a stock worker's, which says nothing; nor do polls there ever
            is_agent = names.AGENT_TAG in run.tags
            return age > (2 * self._app.margins.starting if is_agent else self._app.margins.polling)
        if holder.process == identity.process():
            return age > self._app.margins.starting  # ours, and we know nothing of it
        gone = identity.is_gone(holder.process)
        if gone is not None:
            return gone
        # A stock worker's process on another host has no heartbeat that we could miss.
        return bool(holder.worker) and self._app.liveness.is_lost((self._pool(run), holder.worker))

    def _is_unknown(self, run: FlowRun, holder: Holder | None) -> bool:
        """Tell whether a worker on another host was never seen: its silence proves nothing."""
        if holder is None or not holder.worker or identity.is_gone(holder.process) is not None:
            return False
        return not self._app.liveness.has_seen((self._pool(run), holder.worker))

    async def _observe_workers(self, held: Sequence[tuple[FlowRun, Holder | None]]) -> None:
        """Look at the workers' heartbeats, if any run is on a host that we cannot look into."""
        far = [
            (run, holder)
            for run, holder in held
            if holder is not None and holder.worker and identity.is_gone(holder.process) is None
        ]
        for pool in {self._pool(run) for run, _ in far}:
            await observe(self._prefect, self._app, pool)

    def _pool(self, run: FlowRun) -> str:
        """The pool of a run; one whose work queue somebody has deleted is in none any more."""
        return run.work_pool_name or names.agents_pool(self._app.name)


async def observe(prefect: RunStore, app: App, pool: str) -> None:
    """Note the heartbeats of a pool's workers as they are now."""
    workers = await prefect.workers(pool)
    app.liveness.observe(pool, {w.name: w.last_heartbeat_time for w in workers})
