"""What the rules use of Prefect, in memory: runs, their states and labels, queues, variables.

A double of Prefect, for tests of rules that need hundreds of cases in a second. It has the oddities
of the real one: `tests/contract/test_run_store*.py` hold both to the same.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import (
    FlowRun,
    FlowRunPolicy,
    State,
    StateType,
    Worker,
    WorkPool,
    WorkQueue,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Scheduled

from athanore import names
from athanore.runs.port import Answer, Kept, NewRun, RunQuery, Switches


@pytest.fixture(autouse=True)
def no_events() -> Generator[None]:
    """Nobody hears of what the rules tell by events; Prefect would start a server for them."""
    EventsWorker.set_client_override(NullEventsClient)
    yield
    EventsWorker.set_client_override(None)


FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
_BUSY = (StateType.PENDING, StateType.CANCELLING, StateType.RUNNING, StateType.CANCELLED)
_NOT_FROM_FINAL = (StateType.CANCELLING, StateType.PAUSED, StateType.CRASHED)


class MemoryRunStore:
    """A `RunStore` that is a few dictionaries."""

    address = "http://memory.invalid/api"

    def __init__(self) -> None:
        self.runs: dict[UUID, FlowRun] = {}
        self.history: dict[UUID, list[State[Any]]] = {}
        self.notes_of: dict[UUID, dict[str, str]] = {}
        self.deployed: dict[str, DeploymentResponse] = {}
        self.kept: dict[str, Kept] = {}
        self.tagged: dict[str, Sequence[str]] = {}
        self.queues: dict[UUID, WorkQueue] = {}
        self.pools: dict[str, WorkPool] = {}
        self.workers_of: dict[str, list[Worker]] = {}
        self.events: dict[tuple[str, str], datetime] = {}
        self._flows: dict[str, UUID] = {}

    # -- deployments ----------------------------------------------------------------------------

    def deploy(self, name: str, parameters: dict[str, Any], tags: list[str]) -> DeploymentResponse:
        """Have a deployment `flow/name`, made anew if there is one."""
        flow, _, own = name.partition("/")
        queue = WorkQueue(name=own, priority=1, work_pool_id=uuid4())
        self.queues[queue.id] = queue
        pool = f"pool of {flow}"
        self.pools.setdefault(pool, WorkPool(name=pool, type="athanore", default_queue_id=uuid4()))
        self.deployed[name] = DeploymentResponse(
            id=uuid4(),
            name=own,
            flow_id=self._flows.setdefault(flow, uuid4()),
            parameters=parameters,
            tags=tags,
            labels={},
            work_queue_id=queue.id,
            work_pool_name=pool,
        )
        return self.deployed[name]

    async def deployment(self, name: str) -> DeploymentResponse:
        return self._deployment(name)

    def _deployment(self, name: str) -> DeploymentResponse:
        if name not in self.deployed:
            raise _missing()
        return self.deployed[name]

    async def delete_deployment(self, deployment_id: UUID) -> None:
        found = [n for n, d in self.deployed.items() if d.id == deployment_id]
        if not found:
            raise _missing()
        del self.deployed[found[0]]

    # -- runs -----------------------------------------------------------------------------------

    async def create(self, deployment: UUID, new: NewRun) -> FlowRun:
        found = next((d for d in self.deployed.values() if d.id == deployment), None)
        if found is None:
            raise _missing()
        for run in self.runs.values():
            if (run.flow_id, run.idempotency_key) == (found.flow_id, new.key or uuid4()):
                return self._copy(run)
        run = FlowRun(
            id=uuid4(),
            flow_id=found.flow_id,
            deployment_id=deployment,
            name=new.name,
            parameters={**found.parameters, **new.parameters},
            tags=[*found.tags, *new.tags],
            idempotency_key=new.key,
            labels=dict(new.labels),
            work_queue_id=found.work_queue_id,
            work_pool_name=found.work_pool_name,
            created=_now(),
        )
        self.runs[run.id] = run
        self.history[run.id] = []
        self._enter(run, Scheduled(scheduled_time=new.due, message=new.message))
        return self._copy(run)

    async def create_all(self, deployment: UUID, new: Sequence[NewRun]) -> list[UUID | str]:
        return [(await self.create(deployment, each)).id for each in new]

    async def read_run(self, run_id: UUID) -> FlowRun:
        return self._copy(self._run(run_id))

    async def read_states(self, run_id: UUID) -> list[State[Any]]:
        return [deepcopy(s) for s in self.history[run_id]]

    async def find(
        self,
        query: RunQuery,
        *,
        sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_ASC,
        limit: int = 200,
        offset: int = 0,
    ) -> list[FlowRun]:
        found = [r for r in self.runs.values() if _matches(r, query)]
        found.sort(
            key=_ended if sort is FlowRunSort.END_TIME_DESC else _expected,
            reverse=sort.endswith("_DESC"),
        )
        return [self._copy(r) for r in found[offset:][:limit]]

    async def count(self, query: RunQuery) -> int:
        return sum(_matches(r, query) for r in self.runs.values())

    async def propose_all(self, query: RunQuery, state: State[Any]) -> set[UUID]:
        found = [r.id for r in self.runs.values() if _matches(r, query)][:50]
        return {run_id for run_id in found if (await self.propose(run_id, state)).accepted}

    async def delete(self, query: RunQuery) -> int:
        found = [r.id for r in self.runs.values() if _matches(r, query)][:50]
        for run_id in found:
            del self.runs[run_id]
        return len(found)

    async def delete_flow_run(self, run_id: UUID) -> None:
        """What a person does in Prefect's UI."""
        self._run(run_id)
        del self.runs[run_id]

    async def add_labels(self, run_id: UUID, labels: Mapping[str, Any]) -> None:
        self._run(run_id).labels.update(labels)

    async def set_policy(self, run_id: UUID, policy: FlowRunPolicy) -> None:
        self._run(run_id).empirical_policy = policy.model_copy()

    async def impose(self, run_id: UUID, state: State[Any]) -> None:
        self._enter(self._run(run_id), state)

    async def propose(self, run_id: UUID, state: State[Any]) -> Answer:
        run = self._run(run_id)
        now, policy = run.state, run.empirical_policy
        assert now is not None
        due = now.state_details.scheduled_time
        match now.type, state.type:
            case before, StateType.PENDING if before in _BUSY:
                return Answer(False, None)
            case before, after if before in FINAL and after in _NOT_FROM_FINAL:
                return Answer(False, None)
            case StateType.SCHEDULED, StateType.CANCELLING:
                return self._enter(run, Cancelled(), accepted=False)
            case StateType.CANCELLING, after if after is not StateType.CANCELLED:
                return Answer(False, now)
            case StateType.PAUSED, StateType.CANCELLING if now.state_details.pause_reschedule:
                return self._enter(run, Cancelled(), accepted=False)
            case before, StateType.PAUSED if before is not StateType.RUNNING:
                return Answer(False, now)
            case _, StateType.PAUSED if state.state_details.pause_key in (policy.pause_keys or ()):
                return Answer(False, now)
            case _, StateType.PAUSED:
                key = state.state_details.pause_key or str(uuid4())
                update = {"pause_keys": {*(policy.pause_keys or ()), key}}
                run.empirical_policy = policy.model_copy(update=update)
                for each in (state.state_details.run_input_keyset or {}).values():
                    self.notes_of.get(run_id, {}).pop(each, None)  # as Prefect 3.9
            case ((StateType.SCHEDULED | StateType.PENDING), StateType.RUNNING) if (
                due is not None and (due - _now()).total_seconds() >= 1
            ):
                return Answer(False, None)
            case StateType.RUNNING, StateType.FAILED if run.run_count <= (policy.retries or 0):
                retry: State[Any] = AwaitingRetry(scheduled_time=_now())
                return self._enter(run, retry, accepted=False)
            case StateType.PAUSED, (StateType.SCHEDULED | StateType.RUNNING):
                run.empirical_policy = policy.model_copy(update={"resuming": True})
            case before, StateType.SCHEDULED if before in FINAL:
                update = {"resuming": False, "retry_type": "reschedule"}
                run.empirical_policy = policy.model_copy(update=update)
            case _:
                pass
        return self._enter(run, state)

    async def resume_flow_run(self, run_id: UUID) -> None:
        """What a person does in Prefect's UI."""
        resuming: State[Any] = State(type=StateType.SCHEDULED, name="Resuming")
        await self.propose(run_id, resuming)

    async def resume(self, run_id: UUID, said: Mapping[str, Any]) -> Answer:
        run = self._run(run_id)
        if run.state is None or run.state_type is not StateType.PAUSED:
            return Answer(False, None)
        keys, notes = run.state.state_details.run_input_keyset, self.notes_of.setdefault(run_id, {})
        if keys is not None:
            form = json.loads(notes.get(keys["schema"], "null"))
            if form is None or not _fits(said, form):
                return Answer(False, run.state)
        resuming: State[Any] = State(type=StateType.SCHEDULED, name="Resuming")
        answer = await self.propose(run_id, resuming)
        if answer.accepted and keys is not None:
            notes[keys["response"]] = json.dumps(dict(said))
        return answer

    async def rename(self, run_id: UUID, name: str) -> None:
        self._run(run_id).name = name

    async def note(self, run_id: UUID, key: str, text: str) -> None:
        self.notes_of.setdefault(run_id, {})[key] = text

    async def notes(self, run_id: UUID, prefix: str) -> list[tuple[str, str]]:
        return [(k, v) for k, v in self.notes_of.get(run_id, {}).items() if k.startswith(prefix)]

    async def drop_note(self, run_id: UUID, key: str) -> None:
        self.notes_of.get(run_id, {}).pop(key, None)

    async def note_first(self, run_id: UUID, key: str, text: str) -> bool:
        self._run(run_id)
        mine = self.notes_of.setdefault(run_id, {})
        return mine.setdefault(key, text) is text

    async def has_note(self, run_id: UUID, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.notes_of.get(run_id, {}))

    async def has_attempt(self, run_id: UUID, since: datetime) -> bool:
        return False  # attempts are the flow's, and no flow runs here

    # -- events -----------------------------------------------------------------------------------

    async def since_event(self, name: str, resource: str, now: datetime) -> timedelta | None:
        came = self.events.get((name, resource))
        return None if came is None else _now() - came

    # -- values -----------------------------------------------------------------------------------

    async def value(self, name: str) -> Kept | None:
        return self.kept.get(name)

    async def values(self, tags: Sequence[str]) -> list[Kept]:
        return [k for name, k in self.kept.items() if set(tags) <= set(self.tagged[name])]

    async def keep(self, name: str, value: Any, tags: Sequence[str] = ()) -> None:
        self.kept[name] = Kept(value, _now())
        self.tagged.setdefault(name, tuple(tags))

    async def keep_first(self, name: str, value: Any, tags: Sequence[str] = ()) -> bool:
        if name in self.kept:
            return False
        await self.keep(name, value, tags)
        return True

    async def forget(self, name: str) -> None:
        self.kept.pop(name, None)
        self.tagged.pop(name, None)

    # -- deployments, limits, workers -------------------------------------------------------------

    async def deployments(self, tags: Sequence[str]) -> list[DeploymentResponse]:
        found = [d for d in self.deployed.values() if set(tags) <= set(d.tags)]
        return sorted(found, key=lambda d: d.name)

    async def switches(self, app: str, route: str) -> Switches:
        name = names.deployment_name(app, route)
        poll = self._deployment(f"{names.POLL_FLOW}/{name}")
        agents = self._deployment(f"{names.AGENT_FLOW}/{name}")
        assert agents.work_queue_id is not None
        queue = self.queues[agents.work_queue_id]
        return Switches(poll.id, agents.id, poll.paused, queue.id, queue.is_paused, queue.name)

    async def pause_polls(self, switches: Switches) -> None:
        self._set_paused(switches.poll, True)

    async def resume_polls(self, switches: Switches) -> None:
        for deployment in (switches.poll, switches.agents):
            self._set_paused(deployment, False)

    def _set_paused(self, deployment: UUID, paused: bool) -> None:
        next(d for d in self.deployed.values() if d.id == deployment).paused = paused

    async def switch_agents(self, queue: UUID, *, paused: bool, description: str) -> None:
        self.queues[queue].is_paused = paused
        self.queues[queue].description = description

    async def work_pool(self, name: str) -> WorkPool:
        if name not in self.pools:
            raise _missing()
        return self.pools[name]

    async def work_queues(self, pool: str) -> list[WorkQueue]:
        return list(self.queues.values())

    async def queue_limit(self, queue: UUID) -> int | None:
        return self.queues[queue].concurrency_limit

    async def workers(self, pool: str, *, online: bool = False) -> list[Worker]:
        return self.workers_of.get(pool, [])

    # -- inside ---------------------------------------------------------------------------------

    def _run(self, run_id: UUID) -> FlowRun:
        if run_id not in self.runs:
            raise _missing()
        return self.runs[run_id]

    @staticmethod
    def _copy(run: FlowRun) -> FlowRun:
        return run.model_copy(deep=True)

    def _enter(self, run: FlowRun, state: State[Any], *, accepted: bool = True) -> Answer:
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
        return Answer(accepted, deepcopy(new))


def _now() -> Any:
    """As Prefect's models want it."""
    return datetime.now(UTC)


def _missing() -> ObjectNotFound:
    return ObjectNotFound(Exception("404"))


def _fits(said: Mapping[str, Any], form: Mapping[str, Any]) -> bool:
    """Tell whether what is said fits a form, as far as our rules rely on it."""
    choices = form["properties"]["answer"].get("enum")
    has_all = set(form["required"]) <= set(said)
    return has_all and (choices is None or said["answer"] in choices)


def _expected(run: FlowRun) -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)


def _ended(run: FlowRun) -> datetime:
    return run.end_time or datetime.min.replace(tzinfo=UTC)


def _matches(run: FlowRun, query: RunQuery) -> bool:
    """Tell whether a run is one of those that are meant."""
    ended = run.end_time
    return all(
        (
            set(query.tags) <= set(run.tags),
            not query.any_tags or bool(set(query.any_tags) & set(run.tags)),
            not query.states or run.state_type in query.states,
            not query.named or run.state_name in query.named,
            run.state_name not in query.not_named,
            not query.ids or run.id in query.ids,
            run.id not in query.but,
            query.queue is None or run.work_queue_id == query.queue,
            query.ended_after is None or (ended is not None and ended >= query.ended_after),
            query.ended_before is None or (ended is not None and ended <= query.ended_before),
        )
    )


def deploy_in_memory(store: MemoryRunStore, app: str, route: str, queue: str = "") -> None:
    """Have the two deployments of a route, as `athanore deploy` makes them."""
    parameters: dict[str, Any] = {"queue_name": queue or route, "app": "run.py:dispatcher"}
    if queue and queue != route:
        parameters["route_name"] = route
    for flow, kind in ((names.AGENT_FLOW, names.AGENT_TAG), (names.POLL_FLOW, names.POLL_TAG)):
        tags = ["athanore", names.app_tag(app), names.route_tag(route), kind]
        store.deploy(f"{flow}/{names.deployment_name(app, route)}", parameters, tags)
