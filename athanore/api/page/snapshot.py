"""The whole board in one answer: queues, cards, and what Prefect knows of each.

Made at most once a second however many look, and only while somebody looks; less often where it
takes long, so that a large board does not keep the server busy.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal

from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel, Field

from athanore.api.events.last_lines import LastLines
from athanore.api.memory.kept import Kept
from athanore.api.models import NeedsPersonModel, ProviderLimitModel
from athanore.api.page.shares import fair_shares
from athanore.api.prefect.agent_runs import prefect_ui, run_url, worker_of
from athanore.api.prefect.link import PrefectLink
from athanore.api.prefect.seen import Seen
from athanore.errors import BoardError, MatchError, PrefectUnavailableError
from athanore.models import Queue, Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.open_runs import Phase, phase_of
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.store import route_name
from athanore.runtime.apps import App
from athanore.runtime.boards.board_view import Picture
from athanore.runtime.routes.ownership import owner, watched, watching
from athanore.runtime.routes.route_registry import Routes, called
from athanore.services import dead_letters
from athanore.services.holds import Holds
from athanore.services.showing.views import NeedsPerson
from athanore.services.status import needs_person, reasons
from athanore.services.status.machinery import Machinery
from athanore.services.status.reasons import Explanation, Known

_FRESH_SECONDS = 1.0
_LETTERS_SECONDS = 10.0
_MAX_CARDS = 2000
_MAX_MATTERS = 100

type Action = Literal["dispatch", "cancel", "requeue"]


class BoardRouteModel(BaseModel):
    """A route that watches a queue."""

    name: str
    agent: str = Field(description="What is started for a task.")
    poll_interval: float = Field(description="Seconds.")
    deployed: bool
    paused: list[Literal["polls", "agents"]] = Field(description="Which of its parts are paused.")
    pause_reason: str | None = Field(description="Why it paused itself; null if it did not.")


class BoardQueueModel(BaseModel):
    """A queue: a column of the board."""

    name: str
    task_count: int
    hidden: int = Field(description="How many of its tasks are not among the cards.")
    kind: Literal["watched", "in-progress", "dead-letter", "other"]
    route: BoardRouteModel | None = Field(description="The first of `routes`, or null.")
    routes: list[BoardRouteModel] = Field(description="All that watch it, by their rank.")


class CardRunModel(BaseModel):
    """The agent run of a card."""

    id: str
    phase: Phase
    attempt: int = Field(description="The current or last attempt, from 1.")
    max_attempts: int
    since: datetime | None = Field(description="When it came into this phase.")
    due: datetime | None = Field(description="When a waiting run or a retry may start.")
    message: str = Field(description="Why it waits or is repeated; often empty.")
    last_line: str | None = Field(description="What its agent said last.")
    route: str = Field(description="The queue that the task was taken from.")
    worker: str | None
    url: str | None = Field(description="The run in Prefect's UI.")


class CardLetterModel(BaseModel):
    """Why a task was given up."""

    reason: str
    attempts: int | None = Field(description="Null for a task that a person put there.")
    since: datetime | None
    route: str | None
    url: str | None = Field(description="The run in Prefect's UI.")


class CardModel(BaseModel):
    """A task on the board."""

    id: str
    name: str
    queue_name: str
    labels: list[str]
    assignees: list[str]
    run: CardRunModel | None
    dead_letter: CardLetterModel | None
    needs_person: str | None = Field(description="Why it waits for a person.")
    waits_for: str | None = Field(
        description="What it waits for, in sentences; null while an agent works on it, at rest, "
        "and while Prefect does not answer."
    )
    until: datetime | None = Field(description="When that ends by itself, where it is known.")
    actions: list[Action] = Field(description="What can be done with it now.")


class BoardModel(BaseModel):
    """The board as it is now."""

    app: str
    queues: list[BoardQueueModel] = Field(
        description="In board order; of a board with more than 40 queues only those that routes "
        "name."
    )
    cards: list[CardModel] = Field(
        description=f"Queue by queue, in board order; {_MAX_CARDS} at most. Of queues that are too "
        "long the first tasks, where a route takes tasks from them or works in them, else the last."
    )
    max_concurrent_agents: int | None
    active_agents: int | None = Field(description="Null while Prefect does not answer.")
    workers: list[str] = Field(description="The workers that are online.")
    needs_person: list[NeedsPersonModel] = Field(
        description="What no agent and no poll puts right by itself."
    )
    provider_limits: list[ProviderLimitModel] = Field(
        description="Usage limits of the agents' accounts that are reached or near."
    )
    board_error: str | None = Field(
        description="Why the board cannot be read; the cards are then those of the last time."
    )
    prefect_error: str | None = Field(description="Why nothing is known of agents.")
    ui_url: str | None = Field(description="Prefect's UI.")
    starting: bool = Field(
        default=False,
        description="Only the board is there yet: Prefect and the worker are starting.",
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The board as JSON, and a tag that changes with it."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What Prefect says of the tasks."""

    seen: Known
    letters: dict[str, dead_letters.DeadLetter]
    requeueable: frozenset[str]
    matters: dict[str, NeedsPerson]
    lines: dict[str, str]
    whys: dict[str, Explanation]


type _Letters = tuple[dict[str, dead_letters.DeadLetter], frozenset[str], dict[str, NeedsPerson]]


class Snapshots:
    """Makes the snapshot that all readers share."""

    def __init__(self, app: App, prefect: PrefectLink, seen: Seen, lines: LastLines) -> None:
        self._app = app
        self._view = app.view
        self._prefect = prefect
        self._seen = seen
        self._lines = lines
        self._lock = asyncio.Lock()
        self._snapshot: Kept[Snapshot] = Kept(_FRESH_SECONDS)
        self._letters: Kept[_Letters] = Kept(_LETTERS_SECONDS)

    async def get(self) -> Snapshot:
        """Return the board as it was at most a second ago."""
        async with self._lock:
            return await self._snapshot.get(None, self._make)

    def outdated(self) -> None:
        """Have the next reader see what was changed just now."""
        self._seen.outdated()
        for kept in (self._snapshot, self._letters):
            kept.forget()

    async def _make(self) -> Snapshot:
        body = (await self._read()).model_dump_json().encode()
        return Snapshot(body, f'"{hashlib.sha256(body).hexdigest()[:24]}"')

    async def _read(self) -> BoardModel:
        app = self._app
        board_error = prefect_error = None
        matters: list[NeedsPerson] = []
        try:
            await self._view.read()
            matters += needs_person.of_board(await app.board.problems())
        except BoardError as exc:
            board_error = str(exc)
        picture = self._view.last
        routes = app.routes.remembered()
        tasks = _shown(picture, routes)
        known: _Known | None = None
        asked = monotonic()
        try:
            known = await self._ask_prefect(tasks, picture)
        except PrefectUnavailableError as exc:
            prefect_error = str(exc)
            self._snapshot.waited = monotonic() - asked
        machinery = None if known is None else known.seen.machinery
        if known is not None:
            matters[:0] = known.matters.values()
            routes = known.seen.routes
        if machinery is not None:
            matters += needs_person.of_routes(app.name, machinery)
        hidden = Counter(t.queue_name for t in picture.tasks)
        hidden.subtract(t.queue_name for t in tasks)
        return BoardModel(
            app=app.name,
            queues=[
                _queue(q, hidden[q.name], routes, machinery, app.dispatcher.default_agent)
                for q in picture.queues
            ],
            cards=[_card(t, known) for t in tasks],
            max_concurrent_agents=app.dispatcher.settings.max_concurrent_agents
            if machinery is None
            else machinery.limit,
            active_agents=None if known is None else len(known.seen.runs.working),
            workers=[] if machinery is None else list(machinery.workers),
            needs_person=[NeedsPersonModel.of(m) for m in matters[:_MAX_MATTERS]],
            provider_limits=[]
            if machinery is None
            else [ProviderLimitModel.of(x) for x in machinery.provider_limits],
            board_error=board_error,
            prefect_error=prefect_error,
            ui_url=prefect_ui(),
        )

    async def _ask_prefect(self, tasks: list[Task], picture: Picture) -> _Known:
        """Ask in a few steps: each has a patience of its own, so that none takes another's."""
        app = self._app
        seen = await self._seen.read(tasks)
        places = dead_letters.places(seen.routes)
        idle = [t for t in tasks if t.queue_name in places and t.id not in seen.runs.by_task]
        user = await needs_person.board_user(app)
        async with self._prefect.client() as client:
            letters, requeueable, matters = await self._letters.get(
                tuple((t.id, t.queue_name) for t in idle),
                lambda: self._read_letters(client, seen.routes, idle, user),
            )
        lines = self._lines.of(seen.runs.working)
        holds = Holds(app, seen.routes, reads=False)
        holds.has_read(picture.tasks)
        whys = await reasons.of_tasks(seen, tasks, holds, whole=False)
        return _Known(seen, letters, requeueable, matters, lines, whys)

    async def _read_letters(
        self, client: PrefectRunStore, routes: Routes, idle: list[Task], user: str | None
    ) -> _Letters:
        last = await store.last_finished_runs(
            client, self._app.name, [t.id for t in idle], telling=True
        )
        at_rest = [(t, last.get(t.id)) for t in idle]
        targets = ((t, dead_letters.requeue_target(routes, t, run, user)) for t, run in at_rest)
        return (
            {x.task_id: x for x in dead_letters.given_up(client, routes, at_rest)},
            frozenset(t.id for t, route in targets if route is not None),
            {m.task_id: m for m in needs_person.of_tasks(routes, at_rest, user) if m.task_id},
        )


def _shown(picture: Picture, routes: Routes) -> list[Task]:
    """The tasks that are cards: all where they are not too many, else some of each long queue."""
    by_queue: dict[str, list[Task]] = {q.name: [] for q in picture.queues}
    for task in picture.tasks:
        by_queue.setdefault(task.queue_name, []).append(task)
    share = fair_shares({name: len(tasks) for name, tasks in by_queue.items()}, _MAX_CARDS)
    worked_in = {*watched(routes), *(k.route.in_progress_queue for k in routes.values())}
    shown: list[Task] = []
    for name, tasks in by_queue.items():
        first = 0 if name in worked_in else len(tasks) - share[name]
        shown += tasks[first : first + share[name]]
    return shown


def _queue(
    queue: Queue, hidden: int, routes: Routes, machinery: Machinery | None, default: object
) -> BoardQueueModel:
    watch = [_route_model(k.route, machinery, default) for k in watching(routes, queue.name)]
    others = [k.route for k in routes.values()]
    kind = "other"
    if watch:
        kind = "watched"
    elif any(r.in_progress_queue == queue.name for r in others):
        kind = "in-progress"
    elif any(r.dead_letter_queue == queue.name for r in others):
        kind = "dead-letter"
    return BoardQueueModel(
        name=queue.name,
        task_count=queue.task_count,
        hidden=hidden,
        kind=kind,
        route=watch[0] if watch else None,
        routes=watch,
    )


def _card(task: Task, known: _Known | None) -> CardModel:
    run = letter = matter = why = None
    actions: list[Action] = []
    if known is not None:
        found = known.seen.runs.by_task.get(task.id)
        run = None if found is None else _run(found, known.seen.routes, known.lines.get(task.id))
        why = known.whys.get(task.id)
        letter = None if run is not None else known.letters.get(task.id)
        matter = known.matters.get(task.id)
        if run is not None:
            actions = [] if run.phase == "stopping" else ["cancel"]
        elif _has_owner(known.seen.routes, task):
            actions = ["dispatch"]
        elif task.id in known.requeueable:
            actions = ["requeue"]
    return CardModel(
        id=task.id,
        name=task.name,
        queue_name=task.queue_name,
        labels=list(task.labels),
        assignees=list(task.assignees),
        run=run,
        dead_letter=None if letter is None else _letter_model(letter),
        needs_person=None if matter is None else matter.says,
        waits_for=why.reason if why is not None and why.waits else None,
        until=why.until if why is not None and why.waits else None,
        actions=actions,
    )


def _has_owner(routes: Routes, task: Task) -> bool:
    with suppress(MatchError):
        return owner(routes, task) is not None
    return False


def _run(run: FlowRun, routes: Routes, line: str | None) -> CardRunModel:
    known = called(routes, route_name(run))
    phase = phase_of(run)
    attempt = record_of(run).attempt
    return CardRunModel(
        id=str(run.id),
        phase=phase,
        attempt=attempt,
        max_attempts=attempt if known is None else known.route.retry.max_retries + 1,
        since=run.state.timestamp if run.state else None,
        due=run.next_scheduled_start_time if phase in ("waiting", "retrying") else None,
        message=(run.state.message or "").partition("\n")[0][:500] if run.state else "",
        last_line=line if phase in ("working", "stopping") else None,
        route=route_name(run),
        worker=worker_of(run),
        url=run_url(run),
    )


def _route_model(route: Route, machinery: Machinery | None, default: object) -> BoardRouteModel:
    paused = () if machinery is None else machinery.paused.get(route.name, ())
    return BoardRouteModel(
        name=route.name,
        agent=route.describe(default),
        poll_interval=route.poll_interval.total_seconds(),
        deployed=machinery is not None and route.name in machinery.deployed,
        paused=[part for part in ("polls", "agents") if part in paused],
        pause_reason=None if machinery is None else machinery.pause_reasons.get(route.name),
    )


def _letter_model(letter: dead_letters.DeadLetter) -> CardLetterModel:
    return CardLetterModel(
        reason=letter.reason,
        attempts=letter.attempts,
        since=letter.since,
        route=letter.route,
        url=letter.run_url,
    )
