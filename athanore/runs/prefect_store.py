"""The `RunStore` that is Prefect: its client, with the words of the port."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Self, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterStartTime,
    WorkerFilter,
    WorkerFilterStatus,
    WorkQueueFilter,
)
from prefect.client.schemas.objects import (
    FlowRun,
    FlowRunPolicy,
    State,
    Worker,
    WorkPool,
    WorkQueue,
)
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort, TaskRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled

from athanore import names
from athanore.http_client.dates import header_date
from athanore.runs.port import Answer, Kept, NewRun, RunQuery, Switches
from athanore.runs.states import PrefectState

_NOTES = 200
_PAGE = 200
_DAY = timedelta(days=1)
_NOT_THERE = frozenset({404, 405})
_TAKEN = 409


class PrefectRunStore(PrefectClient):
    """Prefect's client, which the rules know as a `RunStore`.

    It is one, so that whoever also needs what is Prefect's alone (artifacts, work pools, logs) has
    both in one.
    """

    @classmethod
    def of(cls, client: PrefectClient) -> Self:
        """The store that has the connections of a client; whoever made the client closes it."""
        if isinstance(client, cls):
            return client
        store = cls.__new__(cls)
        store.__dict__ = client.__dict__  # not a copy: it may be opened and closed meanwhile
        return store

    @property
    def address(self) -> str:
        return str(self.api_url)

    # -- one run ----------------------------------------------------------------------------------

    async def read_run(self, run_id: UUID) -> FlowRun:
        return await self.read_flow_run(run_id)

    async def read_states(self, run_id: UUID) -> list[State[Any]]:
        return await self.read_flow_run_states(run_id)

    async def propose(self, run_id: UUID, state: State[Any]) -> Answer:
        with _told():
            answer = await self.set_flow_run_state(run_id, state)
        return Answer(answer.status is SetStateStatus.ACCEPT, answer.state)

    async def impose(self, run_id: UUID, state: State[Any]) -> None:
        with _told():
            await self.set_flow_run_state(run_id, state, force=True)

    async def add_labels(self, run_id: UUID, labels: Mapping[str, Any]) -> None:
        with _told():
            await self.update_flow_run_labels(run_id, dict(labels))

    async def set_policy(self, run_id: UUID, policy: FlowRunPolicy) -> None:
        with _told():
            await self.update_flow_run(run_id, empirical_policy=policy)

    async def rename(self, run_id: UUID, name: str) -> None:
        with _told():
            await self.update_flow_run(run_id, name=name)

    async def note(self, run_id: UUID, key: str, text: str) -> None:
        await self.create_flow_run_input(run_id, key, text)

    async def notes(self, run_id: UUID, prefix: str) -> list[tuple[str, str]]:
        found = await self.filter_flow_run_input(run_id, prefix, _NOTES, set())
        return [(note.key, note.value) for note in found]

    async def drop_note(self, run_id: UUID, key: str) -> None:
        try:
            await self.delete_flow_run_input(run_id, key)
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code != 404:
                raise

    async def has_note(self, run_id: UUID, prefix: str) -> bool:
        return bool(await self.filter_flow_run_input(run_id, prefix, 1, set()))

    async def note_first(self, run_id: UUID, key: str, text: str) -> bool:
        try:
            with _told():
                await self.create_flow_run_input(run_id, key, text)
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code != _TAKEN:
                raise
            return False
        return True

    async def resume(self, run_id: UUID, said: Mapping[str, Any]) -> Answer:
        await self.read_run(run_id)  # of one that is gone, Prefect answers with an error of its own
        answer = await self.resume_flow_run(run_id, run_input=dict(said))
        return Answer(answer.status is SetStateStatus.ACCEPT, answer.state)

    async def has_attempt(self, run_id: UUID, since: datetime) -> bool:
        attempts = await self.read_task_runs(
            task_run_filter=TaskRunFilter(
                flow_run_id=TaskRunFilterFlowRunId(any_=[run_id]),
                start_time=TaskRunFilterStartTime.model_validate({"after_": since}),
            ),
            sort=TaskRunSort.ID_DESC,
            limit=1,
        )
        return bool(attempts)

    # -- runs -------------------------------------------------------------------------------------

    async def find(
        self,
        query: RunQuery,
        *,
        sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_ASC,
        limit: int = _PAGE,
        offset: int = 0,
    ) -> list[FlowRun]:
        return await self.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(_filter(query)),
            sort=sort,
            limit=limit,
            offset=offset,
        )

    async def count(self, query: RunQuery) -> int:
        body: dict[str, Any] = {"flow_runs": _filter(query)}
        if query.queue is not None:
            body["work_pool_queues"] = {"id": {"any_": [str(query.queue)]}}
        return int((await self._post("/flow_runs/count", body)).json())

    async def propose_all(self, query: RunQuery, state: State[Any]) -> set[UUID]:
        proposed = {"type": state.type.value, "name": state.name, "message": state.message}
        body = {"flow_runs": _filter(query), "state": proposed}
        answer = await self._post("/flow_runs/bulk_set_state", body)
        accepted = SetStateStatus.ACCEPT.value
        return {
            UUID(one["flow_run_id"])
            for one in answer.json()["results"]
            if one["status"] == accepted
        }

    async def delete(self, query: RunQuery) -> int:
        answer = await self._post("/flow_runs/bulk_delete", {"flow_runs": _filter(query)})
        return len(answer.json()["deleted"])

    async def deployment(self, name: str) -> DeploymentResponse:
        return await self.read_deployment_by_name(name)

    async def create(self, deployment: UUID, new: NewRun) -> FlowRun:
        with _told():
            return await self.create_flow_run_from_deployment(
                deployment,
                parameters=dict(new.parameters),
                state=Scheduled(scheduled_time=new.due, message=new.message),
                name=new.name,
                tags=new.tags,
                labels=dict(new.labels),
                idempotency_key=new.key,
            )

    async def create_all(self, deployment: UUID, new: Sequence[NewRun]) -> list[UUID | str]:
        with _told():
            answer = await self._post(
                f"/deployments/{deployment}/create_flow_run/bulk", [_created(n) for n in new]
            )
        return [
            UUID(one["flow_run_id"]) if one["status"] == "CREATED" else str(one["error"])
            for one in answer.json()["results"]
        ]

    # -- events -----------------------------------------------------------------------------------

    async def since_event(self, name: str, resource: str, now: datetime) -> timedelta | None:
        query = {
            "occurred": {"since": (now - _DAY).isoformat(), "until": (now + _DAY).isoformat()},
            "event": {"name": [name]},
            "resource": {"id": [resource]},
            "order": "DESC",
        }
        answer = await self._post("/events/filter", {"filter": query, "limit": 1})
        if not (found := answer.json()["events"]):
            return None
        asked = header_date(answer.headers.get("date")) or now
        return max(asked - datetime.fromisoformat(found[0]["received"]), timedelta(0))

    # -- values -----------------------------------------------------------------------------------

    async def value(self, name: str) -> Kept | None:
        variable = await self.read_variable_by_name(name)
        return None if variable is None else Kept(variable.value, variable.updated)

    async def values(self, tags: Sequence[str]) -> list[Kept]:
        found: list[Kept] = []
        while True:
            query = {"variables": {"tags": {"all_": list(tags)}}}
            page = {"limit": _PAGE, "offset": len(found)}
            answer = (await self._post("/variables/filter", query | page)).json()
            found += [Kept(one["value"], datetime.fromisoformat(one["updated"])) for one in answer]
            if len(answer) < _PAGE:
                return found

    async def keep(self, name: str, value: Any, tags: Sequence[str] = ()) -> None:
        new = VariableCreate(name=name, value=value, tags=list(tags))
        while True:
            with suppress(ObjectNotFound), _told():
                await self.update_variable(VariableUpdate(name=name, value=value))
                return
            with suppress(ObjectAlreadyExists):  # somebody else was faster
                await self.create_variable(new)
                return

    async def keep_first(self, name: str, value: Any, tags: Sequence[str] = ()) -> bool:
        try:
            await self.create_variable(VariableCreate(name=name, value=value, tags=list(tags)))
        except ObjectAlreadyExists:
            return False
        return True

    async def forget(self, name: str) -> None:
        with suppress(ObjectNotFound):
            await self.delete_variable_by_name(name)

    # -- deployments, limits, workers -------------------------------------------------------------

    async def deployments(self, tags: Sequence[str]) -> list[DeploymentResponse]:
        found: list[DeploymentResponse] = []
        while True:
            page = await self.read_deployments(
                deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=list(tags))),
                sort=DeploymentSort.NAME_ASC,
                limit=_PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def switches(self, app: str, route: str) -> Switches:
        name = names.deployment_name(app, route)
        poll = await self.read_deployment_by_name(f"{names.POLL_FLOW}/{name}")
        agents = await self.read_deployment_by_name(f"{names.AGENT_FLOW}/{name}")
        queue = None
        if agents.work_queue_id is not None:
            with suppress(ObjectNotFound):
                queue = await self.read_work_queue(agents.work_queue_id)
        return Switches(
            poll.id,
            agents.id,
            polls_are_paused(poll),
            None if queue is None else queue.id,
            queue is not None and queue.is_paused,
            "" if queue is None else queue.name,
        )

    async def pause_polls(self, switches: Switches) -> None:
        await self.pause_deployment(switches.poll)

    async def resume_polls(self, switches: Switches) -> None:
        for deployment_id in (switches.poll, switches.agents):
            deployment = await self.read_deployment(deployment_id)
            if deployment.paused:
                await self.resume_deployment(deployment.id)
            for schedule in deployment.schedules:
                if not schedule.active:
                    await self.update_deployment_schedule(deployment.id, schedule.id, active=True)

    async def switch_agents(self, queue: UUID, *, paused: bool, description: str) -> None:
        await self.update_work_queue(queue, is_paused=paused, description=description)

    async def work_pool(self, name: str) -> WorkPool:
        return await self.read_work_pool(name)

    async def work_queues(self, pool: str) -> list[WorkQueue]:
        found: list[WorkQueue] = []
        while True:
            page = await self.read_work_queues(
                work_pool_name=pool,
                work_queue_filter=WorkQueueFilter(),
                limit=_PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def queue_limit(self, queue: UUID) -> int | None:
        return (await self.read_work_queue(queue)).concurrency_limit

    async def workers(self, pool: str, *, online: bool = False) -> list[Worker]:
        wanted = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"])) if online else None
        found: list[Worker] = []
        while True:
            page = await self.read_workers_for_work_pool(
                pool, worker_filter=wanted, offset=len(found), limit=_PAGE
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def _post(self, path: str, body: Any) -> Any:
        """Ask what Prefect's client has no method for."""
        return await self.request("POST", cast(Any, path), json=body)


def polls_are_paused(poll: DeploymentResponse) -> bool:
    """Tell whether a poll's deployment or all of its schedules are paused."""
    return poll.paused or not any(s.active for s in poll.schedules)


@contextmanager
def _told() -> Generator[None]:
    """Have what is not there said in one way: some methods of Prefect's client know only codes."""
    try:
        yield
    except PrefectHTTPStatusError as exc:
        if exc.response.status_code not in _NOT_THERE:
            raise
        raise ObjectNotFound(exc) from exc


def _filter(query: RunQuery) -> dict[str, Any]:
    """A query as Prefect's API takes it; the client of an older Prefect does not know all of it."""
    said: dict[str, Any] = {
        "tags": _some(all_=query.tags, any_=query.any_tags),
        "id": _some(any_=query.ids, not_any_=query.but),
        "state": _some(
            type=_some(any_=query.states), name=_some(any_=query.named, not_any_=query.not_named)
        ),
        "end_time": _some(after_=query.ended_after, before_=query.ended_before),
    }
    return {key: value for key, value in said.items() if value}


def _some(**parts: Any) -> dict[str, Any]:
    """Those of some parts that say something, in JSON."""
    return {key: _json(value) for key, value in parts.items() if value}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return cast(Any, value)
    return [each.value if isinstance(each, Enum) else str(each) for each in value]


def _created(new: NewRun) -> dict[str, Any]:
    """A run for Prefect's API."""
    return {
        "name": new.name,
        "parameters": dict(new.parameters),
        # They are ours, and right: the check costs more than the rest.
        "enforce_parameter_schema": False,
        "tags": list(new.tags),
        "labels": dict(new.labels),
        "idempotency_key": new.key,
        "state": {
            "type": "SCHEDULED",
            "name": PrefectState.SCHEDULED,
            "message": new.message,
            "state_details": {"scheduled_time": new.due.isoformat()},
        },
    }
