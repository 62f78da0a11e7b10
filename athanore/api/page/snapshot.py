"""The whole board in one answer: queues, cards, and what Prefect knows of each.

Made at most once a second however many look, and only while somebody looks; less often where it
takes long, so that a large board does not keep the server busy. While nothing has changed it is
made anew every five seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from prefect.client.schemas.objects import FlowRun

from athanore.api.events.last_lines import LastLines
from athanore.api.memory.kept import Kept
from athanore.api.models import NeedsPersonModel, ProviderLimitModel
from athanore.api.page.models import (
    MAX_CARDS,
    Action,
    BoardModel,
    BoardQueueModel,
    BoardRouteModel,
    CardLetterModel,
    CardModel,
    CardRunModel,
)
from athanore.api.page.shares import fair_shares
from athanore.api.prefect.agent_runs import prefect_ui, run_url, worker_of
from athanore.api.prefect.link import PrefectLink
from athanore.api.prefect.seen import Seen
from athanore.errors import BoardError, MatchError, PrefectUnavailableError
from athanore.models import Queue, Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.open_runs import phase_of
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
_UNCHANGED_SECONDS = 5.0
_MAX_MATTERS = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The board as JSON, and a tag that changes with it."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class _Letters:
    """What is known of tasks at rest."""

    letters: dict[str, dead_letters.DeadLetter]
    requeueable: frozenset[str]
    matters: dict[str, NeedsPerson]


@dataclass(frozen=True, slots=True)
class _Known:
    """What Prefect says of the tasks."""

    seen: Known
    at_rest: _Letters
    lines: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Read:
    """All that a snapshot is made of."""

    picture: Picture
    tasks: list[Task]
    problems: list[str]
    board_error: str | None
    prefect_error: str | None
    known: _Known | None

    def is_as(self, other: _Read) -> bool:
        """Tell whether the same snapshot would be made of both, but for what only time changes."""
        return (
            self.picture == other.picture
            and (self.problems, self.board_error, self.prefect_error)
            == (other.problems, other.board_error, other.prefect_error)
            and _marks(self.known) == _marks(other.known)
        )


def _marks(known: _Known | None) -> object:
    """What tells whether Prefect says the same as before."""
    if known is None:
        return None
    seen, at_rest = known.seen, known.at_rest
    runs = {task_id: (r.id, r.state_id, r.updated) for task_id, r in seen.runs.by_task.items()}
    records = [r.labels for r in seen.runs.working]
    routes = [k.route for k in seen.routes.values()]
    return id(seen.machinery), routes, id(at_rest), known.lines, runs, records


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
        self._made: tuple[float, _Read, Snapshot] | None = None
        self._shown: tuple[Picture, set[str], list[Task]] | None = None

    async def get(self) -> Snapshot:
        """Return the board as it was at most a second ago.

        What time alone changes may be five seconds old, and which runs wait as old as `Seen` says.
        """
        async with self._lock:
            return await self._snapshot.get(None, self._make)

    def outdated(self) -> None:
        """Have the next reader see what was changed just now."""
        self._seen.outdated()
        self._made = None
        for kept in (self._snapshot, self._letters):
            kept.forget()

    async def _make(self) -> Snapshot:
        read = await self._read()
        if self._made is not None:
            made_at, before, snapshot = self._made
            if monotonic() - made_at < _UNCHANGED_SECONDS and read.is_as(before):
                return snapshot
        made_at = monotonic()
        body = (await self._board_of(read)).model_dump_json().encode()
        snapshot = Snapshot(body, f'"{hashlib.sha256(body).hexdigest()[:24]}"')
        self._made = made_at, read, snapshot
        return snapshot

    async def _read(self) -> _Read:
        app = self._app
        board_error = prefect_error = None
        problems: list[str] = []
        try:
            await self._view.read()
            problems += await app.board.problems()
        except BoardError as exc:
            board_error = str(exc)
        picture = self._view.last
        tasks = self._tasks(picture)
        known: _Known | None = None
        asked = monotonic()
        try:
            known = await self._ask_prefect(tasks)
        except PrefectUnavailableError as exc:
            prefect_error = str(exc)
            self._snapshot.waited = monotonic() - asked
        return _Read(picture, tasks, problems, board_error, prefect_error, known)

    def _tasks(self, picture: Picture) -> list[Task]:
        """The tasks that are cards; chosen anew when the board or the routes have changed."""
        routes = self._app.routes.remembered()
        worked_in = {*watched(routes), *(k.route.in_progress_queue for k in routes.values())}
        if self._shown is None or self._shown[0] is not picture or self._shown[1] != worked_in:
            self._shown = picture, worked_in, _shown(picture, worked_in)
        return self._shown[2]

    async def _board_of(self, read: _Read) -> BoardModel:
        app, known, picture = self._app, read.known, read.picture
        routes = app.routes.remembered()
        machinery = None if known is None else known.seen.machinery
        matters: list[NeedsPerson] = []
        whys: dict[str, Explanation] = {}
        if known is not None:
            routes = known.seen.routes
            holds = Holds(app, routes, reads=False)
            holds.has_read(picture.tasks)
            whys = await reasons.of_tasks(known.seen, read.tasks, holds, whole=False)
            matters += needs_person.of_held({t: why.reason for t, why in whys.items() if why.held})
            matters += known.at_rest.matters.values()
        matters = needs_person.in_order(app.name, machinery, matters, read.problems)
        hidden = Counter(t.queue_name for t in picture.tasks)
        hidden.subtract(t.queue_name for t in read.tasks)
        return BoardModel(
            app=app.name,
            queues=[
                _queue(q, hidden[q.name], routes, machinery, app.dispatcher.default_agent)
                for q in picture.queues
            ],
            cards=[_card(t, known, whys.get(t.id)) for t in read.tasks],
            max_concurrent_agents=app.dispatcher.settings.max_concurrent_agents
            if machinery is None
            else machinery.limit,
            active_agents=None if known is None else len(known.seen.runs.working),
            workers=[] if machinery is None else list(machinery.workers),
            needs_person=[NeedsPersonModel.of(m) for m in matters[:_MAX_MATTERS]],
            provider_limits=[]
            if machinery is None
            else [ProviderLimitModel.of(x) for x in machinery.provider_limits],
            board_error=read.board_error,
            prefect_error=read.prefect_error,
            ui_url=prefect_ui(),
        )

    async def _ask_prefect(self, tasks: list[Task]) -> _Known:
        """Ask in a few steps: each has a patience of its own, so that none takes another's."""
        seen = await self._seen.read(tasks)
        places = dead_letters.places(seen.routes)
        idle = [t for t in tasks if t.queue_name in places and t.id not in seen.runs.by_task]
        user = await needs_person.board_user(self._app)
        async with self._prefect.client() as client:
            at_rest = await self._letters.get(
                tuple((t.id, t.queue_name) for t in idle),
                lambda: self._read_letters(client, seen.routes, idle, user),
            )
        return _Known(seen, at_rest, self._lines.of(seen.runs.working))

    async def _read_letters(
        self, client: PrefectRunStore, routes: Routes, idle: list[Task], user: str | None
    ) -> _Letters:
        last = await store.last_finished_runs(
            client, self._app.name, [t.id for t in idle], telling=True
        )
        at_rest = [(t, last.get(t.id)) for t in idle]
        targets = ((t, dead_letters.requeue_target(routes, t, run, user)) for t, run in at_rest)
        return _Letters(
            {x.task_id: x for x in dead_letters.given_up(client, routes, at_rest)},
            frozenset(t.id for t, route in targets if route is not None),
            {m.task_id: m for m in needs_person.of_tasks(routes, at_rest, user) if m.task_id},
        )


def _shown(picture: Picture, worked_in: set[str]) -> list[Task]:
    """The tasks that are cards: all where they are not too many, else some of each long queue.

    Args:
        worked_in: the queues of which the first tasks count, and not the last.
    """
    by_queue: dict[str, list[Task]] = {q.name: [] for q in picture.queues}
    for task in picture.tasks:
        by_queue.setdefault(task.queue_name, []).append(task)
    share = fair_shares({name: len(tasks) for name, tasks in by_queue.items()}, MAX_CARDS)
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


def _card(task: Task, known: _Known | None, why: Explanation | None) -> CardModel:
    run = letter = matter = None
    actions: list[Action] = []
    if known is not None:
        found = known.seen.runs.by_task.get(task.id)
        run = None if found is None else _run(found, known.seen.routes, known.lines.get(task.id))
        letter = None if run is not None else known.at_rest.letters.get(task.id)
        matter = known.at_rest.matters.get(task.id)
        if run is not None:
            actions = [] if run.phase == "stopping" else ["cancel"]
        elif _has_owner(known.seen.routes, task):
            actions = ["dispatch"]
        elif task.id in known.at_rest.requeueable:
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
