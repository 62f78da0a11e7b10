"""What Prefect offers a worker: the runs that are due in its pool, of the routes that it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from itertools import batched
from uuid import UUID

from cachetools import TTLCache
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import PrefectHTTPStatusError

from athanore import names
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.port import MOST_TAGS, RunQuery
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.worker.poll_runs.polls import scheduled_time

PAGE = 200
"""So many runs Prefect offers at most at a time."""

_POLL_PREFETCH = timedelta(seconds=15)
_DEFAULT_QUEUE = "default"
_REMEMBERED = timedelta(seconds=30)
"""For so long it is remembered which work queues there are."""

_READ_AT_MOST_EVERY = timedelta(seconds=3)
"""How soon they are read again when that of a route is missing: it may just be deployed."""

_BEHIND_FOR = timedelta(seconds=10)
"""For so long it is remembered what was found behind the runs of others, also that nothing was."""

_FOREIGN_FOR = timedelta(minutes=1)
"""For so long a run behind the page that is for others is not looked at again."""

_LOOKED_AT = 200
"""At how many of them it is looked at a time: each may cost a request (`home_of`)."""

_CHUNK = 20
"""After so many of them it is looked whether some are for this worker; no more are found."""

_FARTHEST = 2000
"""How many runs are read at a time, those that were looked at a moment ago among them."""

type Mine = Callable[[list[FlowRun]], Awaitable[tuple[list[FlowRun], bool]]]


class Offers:
    """Asks for them.

    Args:
        apps: tells which apps the worker serves.
        polls_only: tells whether its pool is that of the polls.
    """

    def __init__(self, apps: Callable[[], Sequence[App]], polls_only: Callable[[], bool]) -> None:
        self._apps = apps
        self._polls_only = polls_only
        self._flow_names: dict[UUID, str] = {}
        self._existing: TTLCache[str, frozenset[str]] = TTLCache(10, _REMEMBERED.total_seconds())
        self._just_read: TTLCache[str, bool] = TTLCache(10, _READ_AT_MOST_EVERY.total_seconds())
        self._behind: TTLCache[str, list[UUID]] = TTLCache(10, _BEHIND_FOR.total_seconds())
        self._foreign: TTLCache[UUID, bool] = TTLCache(10_000, _FOREIGN_FOR.total_seconds())

    async def find(
        self,
        client: PrefectRunStore,
        pool: str,
        queues: list[str],
        room: tuple[int, int],
        mine: Mine,
    ) -> tuple[list[FlowRun], bool]:
        """The runs that are due and for this worker, and whether Prefect has more to offer.

        Args:
            queues: the work queues that the worker was started for; none for all.
            room: how many are asked for, and how many are enough.
            mine: those of some runs that are new and for this worker, and whether some of the
                others are for other workers.
        """
        limit, enough = room
        while True:
            due = await self.due(client, pool, queues, limit)
            new, some_foreign = await mine(due)
            if len(new) >= enough or (not some_foreign and len(due) < limit):
                return new, len(due) >= limit
            if len(due) < limit or limit == PAGE:
                # Prefect offers no more than there are slots.
                behind = [] if new else await self._find_behind(client, pool, queues, due, mine)
                return new or behind[: len(due)], len(due) >= limit
            limit = min(2 * limit, PAGE)  # some of these are for others: look behind them

    async def _find_behind(
        self,
        client: PrefectRunStore,
        pool: str,
        queues: list[str],
        offered: Sequence[FlowRun],
        mine: Mine,
    ) -> list[FlowRun]:
        """Look behind the runs that Prefect offers, all of which are for others.

        It offers no more than the pool has slots left, and no more than a page. Behind them the
        order is that of their times, and not that of priorities. What is found is offered again,
        if it still waits: a worker may have to ask several times before it takes a run.
        """
        app, known = self._app_of(pool), self._behind.get(pool)
        if app is None or known == []:
            return []
        if known:
            query = RunQuery(ids=known, states=[StateType.SCHEDULED])
            new, _ = await mine(self._offered(await client.find(query), pool))
            if new:
                return new
        found = await self._look_behind(client, app, pool, queues, offered, mine)
        self._behind[pool] = [run.id for run in found]
        return found

    async def _look_behind(
        self,
        client: PrefectRunStore,
        app: App,
        pool: str,
        queues: list[str],
        offered: Sequence[FlowRun],
        mine: Mine,
    ) -> list[FlowRun]:
        """Read further runs of the routes that this host serves, if Prefect would offer them."""
        open_queues = await _open_queues(client, pool, queues)
        labels = app.dispatcher.settings.labels
        served = [k.route for k in app.routes.remembered().values() if k.route.is_for_host(labels)]
        tags = [names.route_tag(n) for r in served for n in r.names if names.slug(n) in open_queues]
        seen = {run.id for run in offered}
        parts = [*batched(tags, MOST_TAGS, strict=False)]
        looked_at = 0
        while parts and looked_at < _LOOKED_AT and len(seen) <= _FARTHEST:
            query = RunQuery(
                tags=[names.app_tag(app.name), names.AGENT_TAG],
                any_tags=parts[0],
                states=[StateType.SCHEDULED],
                but=seen,
            )
            page = await client.find(query, limit=PAGE)
            seen.update(run.id for run in page)
            due = [r for r in self._offered(page, pool) if r.id not in self._foreign]
            for some in batched(due[: _LOOKED_AT - looked_at], _CHUNK, strict=False):
                looked_at += len(some)
                new, _ = await mine([*some])
                if new:
                    return new
                self._foreign.update((run.id, True) for run in some)
            if len(page) < PAGE:
                del parts[0]
        return []

    def _offered(self, runs: Sequence[FlowRun], pool: str) -> list[FlowRun]:
        """Those of a pool that are due, and that no process is about to repeat."""
        now = self._apps()[0].clock.now()
        return [
            run
            for run in runs
            if run.work_pool_name == pool
            and scheduled_time(run) <= now
            and run.empirical_policy.retry_type != "in_process"
        ]

    def _app_of(self, pool: str) -> App | None:
        """The app whose agents' pool it is."""
        return next((a for a in self._apps() if names.agents_pool(a.name) == pool), None)

    async def due(
        self, client: PrefectRunStore, pool: str, queues: list[str], limit: int = PAGE
    ) -> list[FlowRun]:
        """The runs that are due, up to a number of them, the oldest first.

        Args:
            queues: the work queues that the worker was started for; none for all.
        """
        clock = self._apps()[0].clock  # the time of day at Prefect is the same for all apps
        ahead = _POLL_PREFETCH if self._polls_only() else timedelta(0)
        served = queues or await self._served_queues(client, pool)
        try:
            offered = await _due(client, pool, served, clock.now() + ahead, limit)
        except PrefectHTTPStatusError as exc:
            # A queue that we asked for is gone: its route was removed since we knew it.
            gone = exc.response.status_code == 404
            if not gone or queues or self._existing.pop(pool, None) is None:
                raise
            served = await self._served_queues(client, pool)
            offered = await _due(client, pool, served, clock.now() + ahead, limit)
        # If our clock was set just now, we have asked for others; the answer told us the time.
        due = clock.now() + ahead
        return [run for run in offered if scheduled_time(run) <= due]

    async def _served_queues(self, client: PrefectRunStore, pool: str) -> list[str]:
        """The pool's work queues without those of routes for other hosts; none for all of them.

        Their runs would fill what Prefect offers at a time.
        """
        app = self._app_of(pool)
        if app is None:
            return []
        routes = [k.route for k in app.routes.remembered().values()]
        served = served_queues(routes, app.dispatcher.settings.labels)
        if not served:
            return []
        # Prefect offers nothing at all where one of the queues that it is asked for is not there:
        # that of a former name, of a route that was removed, or that is not deployed yet.
        current = {names.slug(route.name) for route in routes}
        existing = self._existing.get(pool)
        if existing is None or (
            not existing >= current & set(served) and pool not in self._just_read
        ):
            existing = frozenset(queue.name for queue in await client.work_queues(pool))
            self._existing[pool] = existing
            self._just_read[pool] = True
        return [name for name in served if name in existing or name == _DEFAULT_QUEUE]

    async def agents_among(self, client: PrefectRunStore, runs: Sequence[FlowRun]) -> list[FlowRun]:
        """Those of some runs that are of agents: neither polls nor scheduled work."""
        beside = (names.POLL_FLOW, names.SCHEDULE_FLOW)
        return [r for r in runs if await self.flow_name(client, r) not in beside]

    async def flow_name(self, client: PrefectRunStore, run: FlowRun) -> str:
        """The name of a run's flow."""
        if run.flow_id not in self._flow_names:
            self._flow_names[run.flow_id] = (await client.read_flow(run.flow_id)).name
        return self._flow_names[run.flow_id]


async def _open_queues(client: PrefectRunStore, pool: str, queues: list[str]) -> set[str]:
    """The work queues of a pool that offer runs now: they are not paused, and have slots left.

    Args:
        queues: those that count; none for all.
    """
    found: set[str] = set()
    for queue in await client.work_queues(pool):
        if queue.is_paused or (queues and queue.name not in queues):
            continue
        if queue.concurrency_limit is not None:
            taken = RunQuery(states=(StateType.PENDING, *store.WORKING), queue=queue.id)
            if await client.count(taken) >= queue.concurrency_limit:
                continue
        found.add(queue.name)
    return found


def served_queues(routes: Sequence[Route], labels: Collection[str]) -> list[str]:
    """The work queues of the routes that a host serves, also those of their former names.

    None, if it serves all routes.

    Args:
        labels: the host's.
    """
    served = [route for route in routes if route.is_for_host(labels)]
    if len(served) == len(routes):
        return []
    return [_DEFAULT_QUEUE, *(names.slug(name) for route in served for name in route.names)]


async def _due(
    client: PrefectRunStore, pool: str, queues: Sequence[str], before: datetime, limit: int
) -> list[FlowRun]:
    # As Prefect's client asks, which names no limit.
    answer = await client.request(
        "POST",
        "/work_pools/{name}/get_scheduled_flow_runs",
        path_params={"name": pool},
        json={"work_queue_names": [*queues], "scheduled_before": str(before), "limit": limit},
    )
    return [o.flow_run for o in WorkerFlowRunResponse.model_validate_list(answer.json())]
