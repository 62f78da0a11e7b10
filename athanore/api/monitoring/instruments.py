"""The instruments that `GET /metrics` shows to Prometheus."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore.api.monitoring.finished import Finished
from athanore.budgets import ESTIMATED, REPORTED
from athanore.runs.open_runs import Phase
from athanore.runs.spending import Attempt
from athanore.services.showing.views import ProviderLimit, WorkerView

_RUN_SECONDS = (1, 5, 15, 60, 180, 600, 1800, 3600, 7200, 21600)
_WAIT_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
_PHASES: tuple[Phase, ...] = ("waiting", "retrying", "working", "stopping")


class Metrics:
    """The metrics of one API process. The counters start when it does."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self.registry = CollectorRegistry()
        self.up = self._gauge("prefect_up", "1 while the Prefect server answers.")
        self.board_up = self._gauge("board_up", "1 while the board answers.")
        self.quota = self._gauge(
            "board_quota_remaining", "What is left of what the board allows until a reset.", "quota"
        )
        self.tasks = self._gauge("tasks", "Open tasks on the board.", "queue")
        self.dead_letters = self._gauge(
            "dead_letters", "Tasks in a queue for dead letters.", "queue"
        )
        self.runs = self._gauge("runs", "Agent runs that have not ended.", "route", "phase")
        self.slots = self._gauge("agent_slots", "How many agents may work at once.")
        self.workers = self._gauge("workers_online", "Workers with a recent heartbeat.")
        self.worker_agents = self._gauge(
            "worker_agents", "How many agents a worker has.", "worker", "host"
        )
        self.worker_limit = self._gauge(
            "worker_agent_limit", "How many it takes; none where it has no limit.", "worker", "host"
        )
        self.worker_state = self._gauge(
            "worker_state", "1 for the state that a worker is in.", "worker", "host", "state"
        )
        self.worker_clock = self._gauge(
            "worker_clock_offset_seconds", "How far its clock is ahead.", "worker", "host"
        )
        self.worker_seen = self._gauge(
            "worker_last_seen_seconds", "Its last heartbeat, in Unix time.", "worker", "host"
        )
        self.worker_info = self._gauge(
            "worker_info",
            "1; its labels, with commas between them, and the version of its code.",
            *("worker", "host", "labels", "version"),
        )
        self.needs_person = self._gauge("needs_person", "What waits for a person.", "kind")
        self.limited = self._gauge(
            "provider_limit_reached",
            "1 while a usage limit is reached, 0 while it is near.",
            "account",
            "kind",
        )
        self.limited_until = self._gauge(
            "provider_limit_until_seconds", "When it is reset, in Unix time.", "account", "kind"
        )
        self.limit_used = self._gauge(
            "provider_limit_used_ratio", "How much of it is used.", "account", "kind"
        )
        self.paused = self._gauge("route_paused", "1 while a route is paused.", "route")
        self.polls = self._gauge("poll_interval_seconds", "How often it is polled.", "route")
        self.finished = self._counter("runs_finished", "Agent runs that ended.", "route", "state")
        self.retries = self._counter("retries", "Attempts that were repeats.", "route")
        self.crashes = self._counter("crashes", "Workers that were lost under a run.", "route")
        self.seconds = self._histogram(
            "run_seconds", "How long the agents of a run worked.", _RUN_SECONDS, "route"
        )
        self.latency = self._histogram(
            "dispatch_latency_seconds",
            "From when a run was due to its start.",
            _WAIT_SECONDS,
            "route",
        )
        self.usage = self._counter("usage", "What agents reported of cost and tokens.", "kind")
        self.cost = self._counter(
            "cost_usd", "What agents have cost, in dollars.", "route", "agent", "source"
        )
        self.tokens = self._counter("tokens", "Tokens of agents.", "route", "agent", "kind")
        self.unmeasured = self._counter(
            "unmeasured_attempts", "Attempts of which nobody knows the cost.", "route", "agent"
        )
        self.requests = self._counter("api_requests", "Requests answered.", "method", "status")
        self.request_seconds = self._histogram(
            "api_request_seconds",
            "How long the answer of a request began to take.",
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            "method",
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"athanore_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"athanore_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"athanore_{name}", text, labels, buckets=buckets, registry=self.registry)

    def count(self, run: Finished) -> None:
        """Count a run that has ended, unless that was before this process began."""
        if run.ended < self._started:
            return
        self.finished.labels(run.route, run.state).inc()
        self.retries.labels(run.route).inc(run.retries)
        self.crashes.labels(run.route).inc(run.crashes)
        self.seconds.labels(run.route).observe(run.seconds)
        self.latency.labels(run.route).observe(run.latency)
        for kind, value in run.usage.items():
            self.usage.labels(kind).inc(max(0.0, value))
        for attempt in run.attempts:
            self._count_attempt(attempt)

    def _count_attempt(self, attempt: Attempt) -> None:
        who, spent = (attempt.route, attempt.agent), attempt.spent
        if spent.cost_usd is None:
            self.unmeasured.labels(*who).inc()
        else:
            source = ESTIMATED if spent.is_estimate else REPORTED
            self.cost.labels(*who, source).inc(max(0.0, spent.cost_usd))
        for kind in ("input_tokens", "output_tokens"):
            if isinstance(count := attempt.usage.get(kind), int | float):
                self.tokens.labels(*who, kind.removesuffix("_tokens")).inc(max(0.0, count))

    def show_limits(self, limits: Iterable[ProviderLimit]) -> None:
        """Set the gauges of the usage limits that are reached or near; of others there are none."""
        for gauge in (self.limited, self.limited_until, self.limit_used):
            gauge.clear()
        for limit in limits:
            which = (limit.account, limit.kind)
            self.limited.labels(*which).set(limit.reached)
            if limit.until is not None:
                self.limited_until.labels(*which).set(limit.until.timestamp())
            if limit.used is not None:
                self.limit_used.labels(*which).set(limit.used)

    def show_workers(self, workers: Iterable[WorkerView]) -> None:
        """Set the gauges of the workers; of those that have ended there are none."""
        of_workers = (self.worker_agents, self.worker_limit, self.worker_state)
        for gauge in (*of_workers, self.worker_clock, self.worker_seen, self.worker_info):
            gauge.clear()
        for worker in workers:
            who = (worker.name, worker.host)
            self.worker_agents.labels(*who).set(worker.agents)
            self.worker_state.labels(*who, worker.state).set(1)
            self.worker_clock.labels(*who).set(worker.clock_offset)
            self.worker_info.labels(*who, ",".join(worker.labels), worker.version).set(1)
            if worker.last_seen is not None:
                self.worker_seen.labels(*who).set(worker.last_seen.timestamp())
            if worker.limit is not None:
                self.worker_limit.labels(*who).set(worker.limit)

    def show_runs(self, routes: Iterable[str], counts: Counted[tuple[str, Phase]]) -> None:
        """Set the gauges of the runs that are under way, by route and phase."""
        for route in routes:
            for phase in _PHASES:
                self.runs.labels(route, phase).set(counts[route, phase])


class Measured:
    """Middleware: requests and how long they take; a stream counts until it begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, method = monotonic(), scope["method"]
        method = method if method in ("GET", "POST", "PATCH", "DELETE") else "other"

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(method, str(message["status"])).inc()
                self._metrics.request_seconds.labels(method).observe(monotonic() - began)
            await send(message)

        await self._app(scope, receive, measured)
