"""Runs of deployments that are agents: Prefect's side of `FlowAgent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling

from athanore.agent_adapters.given.deployments import DeployedRun
from athanore.errors import DispatchError
from athanore.models import AgentOutcome
from athanore.runs.connection.clock import Clock
from athanore.runs.links import run_url
from athanore.runs.port import NewRun, RunQuery
from athanore.runs.prefect_store import PrefectRunStore
from athanore.texts import cut

_REFUSED = frozenset({409, 422})
_OPEN = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
_LONGEST_REFUSAL = 500


class AttemptDeployments:
    """Runs of deployments for one start of a task's run; see `Deployments`.

    Their idempotency key names the task's run and its start, so a repeat finds the same run. One of
    an earlier start, whose worker was lost, is cancelled.
    """

    def __init__(self, prefect: PrefectRunStore, clock: Clock, run: FlowRun, start: int) -> None:
        self._prefect = prefect
        self._clock = clock
        self._name = run.name
        self._tag = f"agent-of:{run.id}"
        self._key = f"athanore-agent/{run.id}/{start}"

    async def start(self, deployment: str, parameters: Mapping[str, Any]) -> DeployedRun:
        """Start a run, or return the one that there is."""
        earlier = await self._prefect.find(RunQuery(tags=[self._tag], states=_OPEN))
        for run in earlier:
            if run.idempotency_key != self._key:
                await self.cancel(str(run.id))
        try:
            found = await self._prefect.deployment(deployment)
            new = NewRun(
                name=self._name,
                due=self._clock.now(),
                parameters={**found.parameters, **parameters},
                tags=[self._tag],
                key=self._key,
            )
            return self._seen(await self._prefect.create(found.id, new))
        except ObjectNotFound as exc:
            raise DispatchError(f"Prefect has no deployment {deployment!r}.") from exc
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code not in _REFUSED:
                raise
            raise ValueError(cut(exc.response.text, _LONGEST_REFUSAL)) from exc

    async def look(self, run_id: str) -> DeployedRun:
        """Read how a run is."""
        try:
            return self._seen(await self._prefect.read_run(UUID(run_id)))
        except ObjectNotFound as exc:
            raise DispatchError(f"The run {run_id} of the deployment was deleted.") from exc

    async def lines(self, run_id: str, seen: int) -> list[str]:
        """Read what a run has logged."""
        query = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))
        logs = await self._prefect.read_logs(query, offset=seen, sort=LogSort.TIMESTAMP_ASC)
        return [" ".join(log.message.splitlines()) for log in logs]

    async def cancel(self, run_id: str) -> None:
        """Ask for the end of a run."""
        try:
            await self._prefect.propose(UUID(run_id), Cancelling(message="Its attempt is over."))
        except ObjectNotFound as exc:
            raise DispatchError(f"The run {run_id} of the deployment was deleted.") from exc

    def _seen(self, run: FlowRun) -> DeployedRun:
        state = run.state
        outcome: AgentOutcome | None = None
        if state is not None and state.is_final():
            outcome = AgentOutcome.SUCCEEDED if state.is_completed() else AgentOutcome.FAILED
        return DeployedRun(
            str(run.id),
            run_url(self._prefect, run),
            run.state_name or "",
            (state.message or "") if state is not None else "",
            outcome,
        )
