"""`AthanoreWorker`: runs polls and agent runs as coroutines, for the apps it was started with.

Prefect's own workers start a process for each run; a run here costs some milliseconds and some
hundred kilobytes. The base class keeps doing what it does: heartbeats, work pool settings, status.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any, override
from uuid import UUID

import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.context import AsyncClientContext
from prefect.settings import temporary_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from athanore import names
from athanore.deployments.app_record import claim_app
from athanore.deployments.pools import JOB_TEMPLATE
from athanore.errors import ConfigurationError, PrefectUnavailableError
from athanore.http_client.proxies import spare_loopback
from athanore.logs import calm_prefect
from athanore.processes.hardening import hide_memory
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App, served_here
from athanore.runtime.background import SideTasks, kept_up, tell_failure
from athanore.runtime.leases.lease import Lease
from athanore.runtime.leases.lease_keeper import kept
from athanore.runtime.leases.local_runs import StopReason
from athanore.runtime.registry import registry
from athanore.worker.client import PatientTransport, shared_client
from athanore.worker.duties.beside import Work, beside_agents, beside_polls
from athanore.worker.execution import Execution
from athanore.worker.held import HeldRuns
from athanore.worker.in_thread import in_thread
from athanore.worker.poll_runs.due_polls import DuePolls
from athanore.worker.poll_runs.polls import PollLanes, clear_polls
from athanore.worker.poll_runs.unchanged import UnchangedPolls
from athanore.worker.steady import PASSING, steadily
from athanore.worker.taking.alarms import Alarms
from athanore.worker.taking.foreign import ForeignRuns, older_polls
from athanore.worker.taking.offers import PAGE, Offers
from athanore.worker.taking.place import Place, place_of

_CLEARED_TOGETHER = 50
_POLLS_FIRST = timedelta(seconds=5)
"""How long a deletion waits for the polls that are at work: it would slow them down."""

_STOP_PATIENCE = timedelta(seconds=20)
_ALONE = timedelta(seconds=10)  # for the runs to see to the board, once Prefect is given up


class AthanoreWorkerResult(BaseWorkerResult):
    """How a run ended, as the base class wants to know it."""


class AthanoreWorker(BaseWorker[BaseJobConfiguration, BaseVariables, AthanoreWorkerResult]):
    """Runs the flows of Athanore's apps in this process.

    Start it with `athanore worker APP`, or with
    `prefect worker start --type athanore --pool athanore-agents` and ATHANORE_APP set to the app
    (several are separated by commas).

    Args:
        apps: those that it serves; by default the ones that ATHANORE_APP names.
        limit: how many agents it takes at once; by default ATHANORE_WORKER_LIMIT, else as many as
            there are.
        leave: ends the process, when a person asked for it; by default by SIGTERM.
    """

    type = "athanore"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _description = "Runs Athanore's polls and agent runs in one process."
    _documentation_url = ""
    _logo_url = ""

    def __init__(
        self,
        *args: Any,
        apps: Sequence[App] = (),
        leave: Callable[[], object] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._apps = list(apps)
        self._leave = leave or partial(signal.raise_signal, signal.SIGTERM)
        self._place: Place | None = None
        self._to_claim: list[App] = []
        self._runs: dict[UUID, asyncio.Task[None]] = {}
        self._held = HeldRuns(lambda: self._apps)
        self._lanes = PollLanes(self._now)
        unchanged = UnchangedPolls(lambda: self.client, lambda: self._apps, self._now)
        self._due_polls = DuePolls(unchanged, self._offer_polls, self._now)
        self._foreign_runs = ForeignRuns(self._logger, lambda: self._apps, lambda: self._place)
        self._offers = Offers(lambda: self._apps, lambda: self._polls_only)
        self._execution: Execution | None = None
        self._asking = asyncio.Lock()
        self._alarms = Alarms(self._now)
        self._side_tasks = SideTasks("Work beside the runs")
        self._draining = False
        self._transport: PatientTransport | None = None
        self._background: list[asyncio.Task[None]] = []
        self._listening = ExitStack()
        self._lease: Lease | None = None

    @classmethod
    @override
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """What Prefect's UI offers to set for a run: nothing, since it is no process of its own."""
        return JOB_TEMPLATE

    # -- life cycle ---------------------------------------------------------------------------

    @override
    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Work until cancelled; then let running agents finish within `shutdown_grace`."""
        if threading.current_thread() is threading.main_thread():
            # Prefect's engine takes over SIGTERM while a flow runs in the main thread, and raises
            # from it at any point. In another thread it leaves signals alone.
            await in_thread(lambda: self.start(run_once, with_healthcheck, printer))
            return
        calm_prefect()
        spare_loopback()
        self._find_apps()
        with temporary_settings({"flows.heartbeat_frequency": None}):
            async with shared_client(self._apps, was_there=not self._to_claim) as self._transport:
                try:
                    await super().start(run_once, with_healthcheck, printer)
                except* PrefectUnavailableError:
                    if not self._draining:  # else it was asked to wait for Prefect no longer
                        raise

    @property
    @override
    def client(self) -> PrefectRunStore:
        """The patient client that the worker shares with its runs."""
        context = AsyncClientContext.get()
        return PrefectRunStore.of(super().client if context is None else context.client)

    @override
    async def setup(self) -> None:
        await super().setup()
        for app in self._to_claim:
            await claim_app(self.client, app, serves=True)
        self._execution = Execution(self._apps, self._logger, self.name)
        for app in self._apps:
            self._listening.enter_context(app.local_runs.listening(self.wake))
            self._listening.enter_context(app.local_runs.on_start(self._execution.started))
        beside: Work = {"The look for due runs": self._answer_alarms}
        apps, pool, known = self._apps, self._work_pool_name, self._held.known
        if self._polls_only:
            beside |= await beside_polls(self.client, apps, pool, self._alarms.set)
        else:
            self._lease = Lease(timedelta(seconds=self._lost_after()))
            beside["The lease"] = partial(self._keep_lease, self._lease)
            self._place = place_of(apps, pool, self.name, self._runs.keys, self._limit)
            beside["The look at the other workers"] = partial(
                self._place.keep, self.client, self.wake, self._leave
            )
            beside |= beside_agents(self.client, apps, known, pool, self._has_arrived)
        self._background = [
            asyncio.create_task(kept_up(what, work), name=what) for what, work in beside.items()
        ]

    @override
    async def sync_with_backend(self) -> None:
        """Learn what has changed in Prefect; see `steadily`."""
        await steadily(super().sync_with_backend, is_new=not self.is_setup)

    @override
    async def teardown(self, *exc_info: Any) -> None:
        if self._place is not None:
            await self._place.leaves(self.client)
        await self.drain(self._grace())
        self._listening.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._place is not None:
            await self._place.end(self.client)
        await super().teardown(*exc_info)

    async def _keep_lease(self, lease: Lease) -> None:
        """Send heartbeats and keep the lease on this worker's runs; runs until cancelled."""
        async with kept(lease, self._held.known, self._send_heartbeat):
            await asyncio.Event().wait()

    async def _send_heartbeat(self, client: PrefectRunStore) -> None:
        # Beside those of the base class, which are not acknowledged where they go over a websocket.
        await client.send_worker_heartbeat(
            self._work_pool_name, self.name, self.heartbeat_interval_seconds
        )

    async def drain(self, grace: timedelta) -> None:
        """Take no more runs; let those that are here finish, and stop those that do not in time."""
        self._draining = True
        self._due_polls.stop()
        if await self._wait_for_runs(grace):
            return
        if self._transport is not None and self._transport.away_for:
            # The runs see to the board; Prefect hears of it from the next start of a worker.
            self._transport.give_up()
        self.stop_agents()
        if await self._wait_for_runs(_STOP_PATIENCE) or self._transport is None:
            return
        self._transport.give_up()  # Prefect went away meanwhile: as above
        if not await self._wait_for_runs(_ALONE):
            for task in self._runs.values():  # the board is away, too: the next worker sees to it
                task.cancel()
            await self._wait_for_runs(_STOP_PATIENCE)

    async def _wait_for_runs(self, limit: timedelta | None) -> bool:
        if tasks := list(self._runs.values()):
            await asyncio.wait(tasks, timeout=None if limit is None else limit.total_seconds())
        return not self._runs

    @property
    def agents(self) -> list[str]:
        """The names of the agent runs that are at work here."""
        return [] if self._polls_only else self._held.names()

    def stop_agents(self) -> None:
        """Cut the grace period of a drain short."""
        self._held.stop(StopReason.SHUTDOWN)

    def _find_apps(self) -> None:
        if not self._apps:  # started by Prefect's own command, and not by one of ours
            hide_memory()
            self._apps = self._to_claim = [registry.find(r) for r in served_here()]
        if not self._apps:
            raise ConfigurationError(
                "The worker does not know which app to serve: set ATHANORE_APP=run.py:dispatcher, "
                "or use `athanore worker run.py:dispatcher`."
            )

    def _now(self) -> datetime:
        """The time of day at Prefect; it is the same for all apps of the worker."""
        return self._apps[0].clock.now()

    def _grace(self) -> timedelta:
        return max(
            (timedelta(seconds=a.dispatcher.settings.shutdown_grace) for a in self._apps),
            default=timedelta(0),
        )

    def _lost_after(self) -> float:
        return min((a.dispatcher.settings.worker_lost_after for a in self._apps), default=600.0)

    # -- finding work -------------------------------------------------------------------------

    @property
    def _polls_only(self) -> bool:
        return self._work_pool_name in {names.polls_pool(a.name) for a in self._apps}

    def wake(self, at: datetime | None = None) -> None:
        """Look for due agent runs now, or at a time, instead of at the next regular look."""
        if not self._polls_only:
            self._alarms.set(at)

    def _has_arrived(self, run_id: UUID) -> None:
        if run_id in self._runs or self._place is None:
            return
        self._place.expects_runs()
        if not self._place.looks_again:
            self.wake(self._now() + self._place.rest)

    async def _answer_alarms(self) -> None:
        while True:
            await self._alarms.next()
            if not self._is_full():  # the end of a run wakes us again
                await self.get_and_submit_flow_runs()

    @override
    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Ask Prefect for due runs and start them."""
        async with self._asking:
            if self._draining or self._work_pool is None:
                return []
            try:
                new, more = await self._find_due()
                agents = await self._offers.agents_among(self.client, new)
                others = self._place and await self._place.count_elsewhere(self.client, agents)
            except PASSING as exc:
                self._logger.debug("Prefect could not be asked for runs: %s", exc)
                return []
            self._last_polled_time = datetime.now(UTC)
            polls = [r for r in new if r not in agents]
            self._due_polls.wait_for(polls)
            return [*polls, *self._take_agents(agents, others, more)]

    async def _find_due(self) -> tuple[list[FlowRun], bool]:
        """Those runs that this worker may begin, up to its room, and whether there are more."""
        room = (PAGE, PAGE) if self._place is None else self._place.asks_for()
        pool, queues = self._work_pool_name, sorted(self._work_queues)
        return await self._offers.find(self.client, pool, queues, room, self._mine_among)

    async def _mine_among(self, offered: list[FlowRun]) -> tuple[list[FlowRun], bool]:
        """Those that are new, and for this worker; whether some of them are for others.

        Of late polls for others the newest stay.
        """
        new = [r for r in offered if r.id not in self._runs and r.id not in self._due_polls]
        foreign = await self._foreign_runs.among(self.client, new)
        if self._polls_only and (older := older_polls(foreign, self._now())):
            self._side_tasks.start(self._clear_polls(older))
        return [r for r in new if r not in foreign], bool(foreign)

    def _is_full(self) -> bool:
        if self._place is not None and self._place.is_full:
            return True
        limit = None if self._work_pool is None else self._work_pool.concurrency_limit
        return limit is not None and len(self._runs) >= limit

    def _take_agents(self, offered: list[FlowRun], others: int | None, more: bool) -> list[FlowRun]:
        taken: list[FlowRun] = []
        place = self._place
        chosen, again = place.take(offered, others, more) if place else (offered, None)
        self._alarms.again(None if again is None else self._now() + again)
        for run in chosen:
            if self._is_full():
                break
            taken.append(run)
            self._begin(run)
        return taken

    def _offer_polls(self, due: list[FlowRun]) -> None:
        start, superseded = self._lanes.offer(due)
        for run in start:
            self._begin(run)
        if superseded:
            self._side_tasks.start(self._clear_polls(superseded))

    async def _clear_polls(self, polls: list[FlowRun]) -> None:
        """Clear polls away that another one stands for; look for more if they filled a page."""
        try:
            for some in batched(polls, _CLEARED_TOGETHER, strict=False):
                await self._wait_for_runs(_POLLS_FIRST)
                await clear_polls(self.client, some)
        except Exception as exc:
            self._logger.warning(
                "Late polls could not be deleted: %s", exc, extra={"action": "polls_not_deleted"}
            )
            return
        if len(polls) > PAGE // 2:
            await self.get_and_submit_flow_runs()

    # -- running ------------------------------------------------------------------------------

    def _begin(self, run: FlowRun) -> None:
        task = asyncio.create_task(self._execute(run), name=f"Run {run.name!r}")
        self._runs[run.id] = task
        self._held.hold(run, self.name, self._lease)

        def ended(_: asyncio.Task[None]) -> None:
            self._runs.pop(run.id, None)
            self._held.forget(run)
            self.wake()  # only now is the slot free
            if following := self._lanes.done(run):
                self._begin(following)

        task.add_done_callback(ended)
        task.add_done_callback(tell_failure)

    async def _execute(self, run: FlowRun) -> None:
        assert self._execution is not None, "the worker has not been set up"
        flow = await self._offers.flow_name(self.client, run)
        await self._execution.execute(self.client, run, flow)

    @override
    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> AthanoreWorkerResult:
        """Run one flow run, as the base class would ask for it."""
        if task_status is not None:
            task_status.started(0)
        self._held.hold(flow_run, self.name, self._lease)
        try:
            await self._execute(flow_run)
        finally:
            self._held.forget(flow_run)
        return AthanoreWorkerResult(identifier=str(flow_run.id), status_code=0)
