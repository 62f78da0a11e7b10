"""What the rules use of Prefect, in memory: runs, their states and labels, queues, variables.

A double of Prefect, for tests of rules that need hundreds of cases in a second. It has the oddities
of the real one: `tests/contract/test_run_store.py` holds both to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import FlowRun, State, StateType, Variable
from prefect.client.schemas.responses import (
    DeploymentResponse,
    OrchestrationResult,
    SetStateStatus,
    StateAcceptDetails,
    StateRejectDetails,
    StateWaitDetails,
)
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelled

FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
_BUSY = (StateType.PENDING, StateType.CANCELLING, StateType.RUNNING, StateType.CANCELLED)
_NOT_FROM_FINAL = (StateType.CANCELLING, StateType.PAUSED, StateType.CRASHED)


class MemoryPrefect(PrefectClient):
    """A client of a Prefect that is a few dictionaries."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1/api")
        self.runs: dict[UUID, FlowRun] = {}
        self.history: dict[UUID, list[State[Any]]] = {}
        self.inputs: dict[UUID, dict[str, Any]] = {}
        self.deployments: dict[str, DeploymentResponse] = {}
        self.variables: dict[str, Variable] = {}
        self._flows: dict[str, UUID] = {}

    # -- deployments ----------------------------------------------------------------------------

    def deploy(self, name: str, parameters: dict[str, Any], tags: list[str]) -> DeploymentResponse:
        """Have a deployment `flow/name`, made anew if there is one."""
        flow, _, own = name.partition("/")
        self.deployments[name] = DeploymentResponse(
            id=uuid4(),
            name=own,
            flow_id=self._flows.setdefault(flow, uuid4()),
            parameters=parameters,
            tags=tags,
            labels={},
            work_queue_id=uuid4(),
            work_pool_name=f"pool of {flow}",
        )
        return self.deployments[name]

    async def read_deployment_by_name(self, name: str) -> DeploymentResponse:
        if name not in self.deployments:
            raise _missing()
        return self.deployments[name]

    async def delete_deployment(self, deployment_id: UUID) -> None:
        found = [n for n, d in self.deployments.items() if d.id == deployment_id]
        if not found:
            raise _missing()
        del self.deployments[found[0]]

    # -- runs -----------------------------------------------------------------------------------

    async def create_flow_run_from_deployment(self, deployment_id: UUID, **kwargs: Any) -> FlowRun:
        try:
            return self._create(deployment_id, **kwargs)
        except ObjectNotFound as exc:
            raise _not_found() from exc  # that is what the client raises here

    def _create(
        self,
        deployment_id: UUID,
        *,
        parameters: Mapping[str, Any] | None = None,
        state: State[Any] | None = None,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        idempotency_key: str | None = None,
        labels: Mapping[str, Any] | None = None,
    ) -> FlowRun:
        found = next((d for d in self.deployments.values() if d.id == deployment_id), None)
        if found is None:
            raise _missing()
        for run in self.runs.values():
            if (run.flow_id, run.idempotency_key) == (found.flow_id, idempotency_key or uuid4()):
                return self._copy(run)
        run = FlowRun(
            id=uuid4(),
            flow_id=found.flow_id,
            deployment_id=deployment_id,
            name=name or "a run",
            parameters={**found.parameters, **(parameters or {})},
            tags=[*found.tags, *(tags or ())],
            idempotency_key=idempotency_key,
            labels=dict(labels or {}),
            work_queue_id=found.work_queue_id,
            work_pool_name=found.work_pool_name,
            created=_now(),
        )
        self.runs[run.id] = run
        self.history[run.id] = []
        self._enter(run, state or State(type=StateType.SCHEDULED))
        return self._copy(run)

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        return self._copy(self._run(flow_run_id))

    async def read_flow_run_states(self, flow_run_id: UUID) -> list[State[Any]]:
        return [deepcopy(s) for s in self.history[flow_run_id]]

    async def read_flow_runs(self, **kwargs: Any) -> list[FlowRun]:
        wanted = kwargs["flow_run_filter"].model_dump(mode="json")
        found = [r for r in self.runs.values() if _matches(r, wanted)]
        newest_first = str(kwargs.get("sort") or "").upper().endswith("END_TIME_DESC")
        found.sort(key=_ended if newest_first else _expected, reverse=newest_first)
        offset = kwargs.get("offset", 0)
        return [self._copy(r) for r in found[offset:][: kwargs.get("limit") or 200]]

    async def delete_flow_run(self, flow_run_id: UUID) -> None:
        self._run(flow_run_id)
        del self.runs[flow_run_id]

    async def update_flow_run_labels(self, flow_run_id: UUID, labels: Mapping[str, Any]) -> None:
        self._run(flow_run_id).labels.update(labels)

    async def update_flow_run(self, flow_run_id: UUID, *args: Any, **kwargs: Any) -> httpx.Response:
        run = self._run(flow_run_id)
        if (policy := kwargs.get("empirical_policy")) is not None:
            run.empirical_policy = policy.model_copy()
        return httpx.Response(204)

    async def set_flow_run_state(
        self, flow_run_id: UUID | str, state: State[Any], force: bool = False
    ) -> OrchestrationResult[Any]:
        run = self._run(UUID(str(flow_run_id)))
        if force:
            return self._enter(run, state)
        now, policy = run.state, run.empirical_policy
        assert now is not None
        due = now.state_details.scheduled_time
        match now.type, state.type:
            case before, StateType.PENDING if before in _BUSY:
                return _answer(SetStateStatus.ABORT, None)
            case before, after if before in FINAL and after in _NOT_FROM_FINAL:
                return _answer(SetStateStatus.ABORT, None)
            case StateType.SCHEDULED, StateType.CANCELLING:
                return self._enter(run, Cancelled(), SetStateStatus.REJECT)
            case StateType.CANCELLING, after if after is not StateType.CANCELLED:
                return _answer(SetStateStatus.REJECT, now)
            case StateType.PAUSED, StateType.CANCELLING if now.state_details.pause_reschedule:
                return self._enter(run, Cancelled(), SetStateStatus.REJECT)
            case before, StateType.PAUSED if before is not StateType.RUNNING:
                return _answer(SetStateStatus.REJECT, now)
            case ((StateType.SCHEDULED | StateType.PENDING), StateType.RUNNING) if (
                due is not None and (due - _now()).total_seconds() >= 1
            ):
                return _answer(SetStateStatus.WAIT, None)
            case StateType.RUNNING, StateType.FAILED if run.run_count <= (policy.retries or 0):
                retry: State[Any] = AwaitingRetry(scheduled_time=_now())
                return self._enter(run, retry, SetStateStatus.REJECT)
            case StateType.PAUSED, (StateType.SCHEDULED | StateType.RUNNING):
                run.empirical_policy = policy.model_copy(update={"resuming": True})
            case before, StateType.SCHEDULED if before in FINAL:
                update = {"resuming": False, "retry_type": "reschedule"}
                run.empirical_policy = policy.model_copy(update=update)
            case _:
                pass
        return self._enter(run, state)

    async def resume_flow_run(self, flow_run_id: UUID, run_input: Any = None) -> Any:
        resuming: State[Any] = State(type=StateType.SCHEDULED, name="Resuming")
        return await self.set_flow_run_state(flow_run_id, resuming)

    # -- inputs ---------------------------------------------------------------------------------

    async def create_flow_run_input(
        self, flow_run_id: UUID, key: str, value: str, sender: str | None = None
    ) -> None:
        self.inputs.setdefault(flow_run_id, {})[key] = value

    async def filter_flow_run_input(
        self, flow_run_id: UUID, key_prefix: str, limit: int, exclude_keys: set[str]
    ) -> list[Any]:
        kept = self.inputs.get(flow_run_id, {})
        found = [k for k in kept if k.startswith(key_prefix) and k not in exclude_keys]
        return found[:limit]

    # -- variables ------------------------------------------------------------------------------

    async def read_variable_by_name(self, name: str) -> Variable | None:
        return self.variables.get(name)

    async def create_variable(self, variable: VariableCreate) -> Variable:
        if variable.name in self.variables:
            raise ObjectAlreadyExists(Exception("409"))
        kept = Variable(**variable.model_dump(), created=_now(), updated=_now())
        self.variables[variable.name] = kept
        return kept

    async def update_variable(self, variable: VariableUpdate) -> None:
        name = str(variable.name)
        if name not in self.variables:
            raise _missing()
        changed = {"value": variable.value, "updated": _now()}
        self.variables[name] = self.variables[name].model_copy(update=changed)

    async def delete_variable_by_name(self, name: str) -> None:
        if self.variables.pop(name, None) is None:
            raise _missing()

    # -- what is not kept here ------------------------------------------------------------------

    async def read_task_runs(self, **kwargs: Any) -> list[Any]:
        return []

    # -- what Prefect's client has no method for -------------------------------------------------

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        path, body = args[1], cast(Any, kwargs.get("json"))
        match str(path).strip("/").split("/"):
            case ["flow_runs", "count"]:
                return _json(sum(_counts(r, body) for r in self.runs.values()))
            case ["deployments", deployment, "create_flow_run", "bulk"]:
                return _json({"results": [self._created(UUID(deployment), one) for one in body]})
            case _:
                raise NotImplementedError(path)

    def _created(self, deployment_id: UUID, wanted: dict[str, Any]) -> dict[str, Any]:
        due = wanted["state"]["state_details"]["scheduled_time"]
        state: State[Any] = State.model_validate(
            {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        )
        try:
            run = self._create(
                deployment_id,
                parameters=wanted["parameters"],
                state=state,
                name=wanted["name"],
                tags=wanted["tags"],
                idempotency_key=wanted["idempotency_key"],
                labels=wanted["labels"],
            )
        except ObjectNotFound as exc:
            raise _not_found() from exc
        return {"status": "CREATED", "flow_run_id": str(run.id), "error": None}

    # -- inside ---------------------------------------------------------------------------------

    def _run(self, run_id: UUID) -> FlowRun:
        if run_id not in self.runs:
            raise _missing()
        return self.runs[run_id]

    @staticmethod
    def _copy(run: FlowRun) -> FlowRun:
        return run.model_copy(deep=True)

    def _enter(
        self, run: FlowRun, state: State[Any], status: SetStateStatus = SetStateStatus.ACCEPT
    ) -> OrchestrationResult[Any]:
        new = state.model_copy(deep=True, update={"id": uuid4(), "timestamp": _now()})
        new.state_details.flow_run_id = run.id
        if new.type is StateType.PENDING and run.state is not None:
            details = run.state.state_details
            new.state_details.scheduled_time = details.scheduled_time
        if new.type is StateType.RUNNING:
            run.run_count += not run.empirical_policy.resuming
            run.start_time = run.start_time or _now()
            run.empirical_policy = run.empirical_policy.model_copy(update={"resuming": False})
        run.end_time = cast(Any, new.timestamp if new.type in FINAL else None)
        run.state, run.state_type, run.state_name = new, new.type, new.name
        run.expected_start_time = new.state_details.scheduled_time or run.expected_start_time
        self.history[run.id].append(new)
        return _answer(status, deepcopy(new))


def _answer(status: SetStateStatus, state: State[Any] | None) -> OrchestrationResult[Any]:
    details = {
        SetStateStatus.ACCEPT: StateAcceptDetails(),
        SetStateStatus.REJECT: StateRejectDetails(),
        SetStateStatus.WAIT: StateWaitDetails(delay_seconds=1),
    }.get(status, StateRejectDetails())
    return OrchestrationResult(state=state, status=status, details=details)


def _now() -> Any:
    """As Prefect's models want it."""
    return datetime.now(UTC)


def _missing() -> ObjectNotFound:
    return ObjectNotFound(Exception("404"))


def _not_found() -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api")
    response = httpx.Response(404, request=request)
    return PrefectHTTPStatusError("404", request=request, response=response)


def _json(value: Any) -> httpx.Response:
    return httpx.Response(200, json=value)


def _expected(run: FlowRun) -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)


def _ended(run: FlowRun) -> datetime:
    return run.end_time or datetime.min.replace(tzinfo=UTC)


def _counts(run: FlowRun, body: Mapping[str, Any]) -> bool:
    queue = body.get("work_pool_queues")
    in_queue = queue is None or str(run.work_queue_id) in queue["id"]["any_"]
    return in_queue and _matches(run, body["flow_runs"])


def _matches(run: FlowRun, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a filter, as Prefect's API takes it, lets a run through."""
    state: Mapping[str, Any] = wanted.get("state") or {}
    values = {
        "id": [str(run.id)],
        "tags": run.tags,
        "type": [run.state_type.value if run.state_type else None],
        "name": [run.state_name],
    }
    parts: dict[str, Any] = {
        "id": wanted.get("id"),
        "tags": wanted.get("tags"),
        "type": state.get("type"),
        "name": state.get("name"),
    }
    known = {"id", "tags", "state", "operator"}
    assert not [k for k, v in wanted.items() if v and k not in known], "not known here"
    return all(_passes(values[part], rule) for part, rule in parts.items() if rule)


def _passes(have: list[Any], rule: Mapping[str, Any]) -> bool:
    return (
        (rule.get("any_") is None or any(v in have for v in rule["any_"]))
        and (rule.get("not_any_") is None or not any(v in have for v in rule["not_any_"]))
        and (rule.get("all_") is None or all(v in have for v in rule["all_"]))
    )
