"""What the rules of this product need of Prefect, in their own words: the port `RunStore`.

Rules (dispatch, outcome, recovery, slots, pauses, limits) are given a `RunStore` and no client of
Prefect. There are two: `PrefectRunStore`, and one in memory for tests. `tests/contract` holds both
to the same, with what is odd of Prefect: a key returns its run for ever, also when that has ended;
a resume is not counted as a start; a cancellation of a run that waits drops its message; labels are
added to and never removed; a run with retries left does not become Failed.

Runs, states and deployments are Prefect's own values: they are data, and say nothing of how they
are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

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


class Answer(NamedTuple):
    """What came of a proposed state.

    Attributes:
        accepted: the run has it.
        state: what the run has instead, where Prefect says so; with `accepted` the state itself.
    """

    accepted: bool
    state: State[Any] | None


class Kept(NamedTuple):
    """A value that is kept under a name, and when it was written last."""

    value: Any
    updated: datetime | None


class Switches(NamedTuple):
    """What of a route can be paused.

    Attributes:
        poll: the id of its polls' deployment.
        agents: the id of its agents' deployment.
        polls_paused: nothing polls it.
        queue: the id of its agents' work queue; None if they have none, or it is gone.
        agents_paused: no agent of it starts.
        queue_name: how that work queue is called; "" where there is none.
    """

    poll: UUID
    agents: UUID
    polls_paused: bool
    queue: UUID | None
    agents_paused: bool
    queue_name: str


MOST_TAGS = 100
"""Of so many tags a query may ask for one: Prefect fails on SQLite from about 130 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs are meant. What is empty or None asks for nothing.

    Attributes:
        tags: they have all of them.
        any_tags: and one of them; `MOST_TAGS` at most.
        states: the type of their state is one of them.
        named: the name of their state is one of them.
        not_named: and none of them.
        ids: they are among these.
        but: they are none of these.
        queue: the id of their work queue.
        ended_after: they ended then or later.
        ended_before: they ended then or earlier.
    """

    tags: Sequence[str] = ()
    any_tags: Sequence[str] = ()
    states: Sequence[StateType] = ()
    named: Sequence[str] = ()
    not_named: Sequence[str] = ()
    ids: Sequence[UUID] = ()
    but: Collection[UUID] = ()
    queue: UUID | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None

    def __post_init__(self) -> None:
        if (count := len(self.any_tags)) > MOST_TAGS:
            raise ValueError(f"{count} any_tags in one query; Prefect takes {MOST_TAGS} on SQLite")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to create.

    Attributes:
        name: how it is called in Prefect.
        due: when it may start.
        parameters: those that the deployment does not have.
        tags: those that the deployment does not have.
        labels: what its record says.
        key: its idempotency key; None: it has none.
        message: why it waits, for people.
    """

    name: str
    due: datetime
    parameters: Mapping[str, Any]
    tags: Sequence[str] = ()
    labels: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = None
    message: str | None = None


class RunStore(Protocol):
    """Runs and what belongs to them, as something outside of this process keeps them.

    Every method may raise httpx's errors and `PrefectHTTPStatusError`, where the server is away or
    refuses; `ObjectNotFound` means that what was asked for is not there.
    """

    @property
    def address(self) -> str:
        """The address of Prefect's API, which tells one Prefect from another."""
        ...

    # -- one run ----------------------------------------------------------------------------------

    async def read_run(self, run_id: UUID) -> FlowRun:
        """Read a run. Raises `ObjectNotFound`."""
        ...

    async def read_states(self, run_id: UUID) -> list[State[Any]]:
        """Read all states that a run has had, in no order."""
        ...

    async def propose(self, run_id: UUID, state: State[Any]) -> Answer:
        """Propose a state; Prefect's rules say whether the run gets it. Raises `ObjectNotFound`."""
        ...

    async def impose(self, run_id: UUID, state: State[Any]) -> None:
        """Give a run a state, whichever it has. Raises `ObjectNotFound`."""
        ...

    async def add_labels(self, run_id: UUID, labels: Mapping[str, Any]) -> None:
        """Add labels to those of a run, over those of the same key. Raises `ObjectNotFound`.

        Prefect reads and writes them: of two writers at once, one may lose what it wrote.
        """
        ...

    async def set_policy(self, run_id: UUID, policy: FlowRunPolicy) -> None:
        """Say how often a run may be retried. Raises `ObjectNotFound`."""
        ...

    async def note(self, run_id: UUID, key: str, text: str) -> None:
        """Keep a note beside a run: unlike labels, notes may have several writers."""
        ...

    async def notes(self, run_id: UUID, prefix: str) -> list[tuple[str, str]]:
        """Read the notes beside a run whose key begins so, up to 200, the oldest first."""
        ...

    async def drop_note(self, run_id: UUID, key: str) -> None:
        """Forget a note beside a run, if there is one."""
        ...

    async def has_note(self, run_id: UUID, prefix: str) -> bool:
        """Tell whether there is a note beside a run whose key begins so."""
        ...

    async def note_first(self, run_id: UUID, key: str, text: str) -> bool:
        """Keep a note beside a run unless there is one of this key; tell whether it was kept.

        Raises `ObjectNotFound`.
        """
        ...

    async def resume(self, run_id: UUID, said: Mapping[str, Any]) -> Answer:
        """Have a suspended run go on, with an input that fits the form that was saved for it.

        Not accepted: it is not suspended, the form is missing, or the input does not fit it. What
        was said is kept as a note only if it is accepted. Raises `ObjectNotFound`.
        """
        ...

    async def has_attempt(self, run_id: UUID, since: datetime) -> bool:
        """Tell whether an attempt of an agent has begun in a run after a time."""
        ...

    # -- runs -------------------------------------------------------------------------------------

    async def find(
        self,
        query: RunQuery,
        *,
        sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_ASC,
        limit: int = 200,
        offset: int = 0,
    ) -> list[FlowRun]:
        """Read up to 200 runs."""
        ...

    async def count(self, query: RunQuery) -> int:
        """Count runs, however many they are, at the same cost."""
        ...

    async def propose_all(self, query: RunQuery, state: State[Any]) -> set[UUID]:
        """Propose a state to up to 50 runs in one request; return the ids of those that have it."""
        ...

    async def delete(self, query: RunQuery) -> int:
        """Delete up to 50 runs in one request, and return how many."""
        ...

    async def rename(self, run_id: UUID, name: str) -> None:
        """Call a run otherwise in Prefect. Raises `ObjectNotFound`: it is gone."""
        ...

    async def deployment(self, name: str) -> DeploymentResponse:
        """Read a deployment, as `flow/deployment`. Raises `ObjectNotFound`."""
        ...

    async def create(self, deployment: UUID, new: NewRun) -> FlowRun:
        """Create a run of a deployment, or return the one of its flow that has its key.

        Raises `ObjectNotFound`: the deployment is gone.
        """
        ...

    async def create_all(self, deployment: UUID, new: Sequence[NewRun]) -> list[UUID | str]:
        """Create up to 100 runs in one request; return their ids, or why there is none.

        Raises `ObjectNotFound`: the deployment is gone, or the server cannot do that.
        """
        ...

    # -- events -----------------------------------------------------------------------------------

    async def since_event(self, name: str, resource: str, now: datetime) -> timedelta | None:
        """How long ago the newest event of a name about a resource came; None: not within a day.

        By the store's own clock.

        Args:
            now: the time there, as far as it is known.
        """
        ...

    # -- values -----------------------------------------------------------------------------------

    async def value(self, name: str) -> Kept | None:
        """Read what is kept under a name; None if nothing is."""
        ...

    async def values(self, tags: Sequence[str]) -> list[Kept]:
        """Read all values that have all of some tags."""
        ...

    async def keep(self, name: str, value: Any, tags: Sequence[str] = ()) -> None:
        """Keep a value under a name, over the one that is there."""
        ...

    async def keep_first(self, name: str, value: Any, tags: Sequence[str] = ()) -> bool:
        """Keep a value under a name unless there is one; tell whether it was kept."""
        ...

    async def forget(self, name: str) -> None:
        """Keep nothing under a name; safe to repeat."""
        ...

    # -- deployments, limits, workers -------------------------------------------------------------

    async def deployments(self, tags: Sequence[str]) -> list[DeploymentResponse]:
        """Read all deployments that have all of some tags, by name."""
        ...

    async def switches(self, app: str, route: str) -> Switches:
        """Read what of a route is paused. Raises `ObjectNotFound`: it is not deployed."""
        ...

    async def pause_polls(self, switches: Switches) -> None:
        """Have nothing poll a route."""
        ...

    async def resume_polls(self, switches: Switches) -> None:
        """Have a route polled, and its runs created, whichever way that was paused."""
        ...

    async def switch_agents(self, queue: UUID, *, paused: bool, description: str) -> None:
        """Let agents of a work queue start, or none of them, and say why on it."""
        ...

    async def work_pool(self, name: str) -> WorkPool:
        """Read a work pool. Raises `ObjectNotFound`."""
        ...

    async def work_queues(self, pool: str) -> list[WorkQueue]:
        """Read all work queues of a pool."""
        ...

    async def queue_limit(self, queue: UUID) -> int | None:
        """How many agents of a work queue may work at once; None: as many as there are."""
        ...

    async def workers(self, pool: str, *, online: bool = False) -> list[Worker]:
        """Read all workers of a pool, the last seen first; only those that Prefect calls online."""
        ...
