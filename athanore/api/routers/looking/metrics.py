"""`GET /metrics`: what Prometheus reads."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from athanore.api.monitoring.instruments import Metrics
from athanore.api.service import Service, ServiceDep
from athanore.errors import BoardError, PrefectUnavailableError
from athanore.services import fleet
from athanore.services.status.needs_person import Kind

router = APIRouter(tags=["status"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(service: ServiceDep) -> Response:
    """Tell Prometheus how the app is doing, over all workers. Read one API process of an app."""
    metrics = service.metrics
    await _look_at_board(service, metrics)
    try:
        await _look_at_prefect(service, metrics)
        metrics.up.set(1)
    except PrefectUnavailableError:
        metrics.up.set(0)
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _look_at_board(service: Service, metrics: Metrics) -> None:
    try:
        counts = {q.name: q.task_count for q in await service.board.queues()}
    except BoardError:
        metrics.board_up.set(0)
        return
    finally:
        metrics.quota.clear()
        for quota in service.board.quotas():
            metrics.quota.labels(quota.name).set(quota.remaining)
    metrics.board_up.set(1)
    metrics.tasks.clear()
    for name, count in counts.items():
        metrics.tasks.labels(name).set(count)
    metrics.dead_letters.clear()
    routes = service.app.routes.in_code().values()
    for name in {k.route.dead_letter_queue for k in routes}:
        if name is not None:
            metrics.dead_letters.labels(name).set(counts.get(name, 0))


async def _look_at_prefect(service: Service, metrics: Metrics) -> None:
    routes = await service.runs.routes()
    machinery = await service.runs.machinery()
    with suppress(BoardError):  # of which the board's own gauge tells
        found = Counter(matter.kind for matter in await service.attention.read())
        for kind in Kind:
            metrics.needs_person.labels(kind).set(found[kind])
    metrics.runs.clear()
    metrics.show_runs(routes, await service.runs.count(routes))
    metrics.workers.set(len(machinery.workers))
    metrics.slots.set(machinery.limit or 0)
    async with service.prefect.client() as client:
        metrics.show_workers(await fleet.workers(client, service.app))
    metrics.show_limits(machinery.provider_limits)
    metrics.paused.clear()
    metrics.polls.clear()
    for name, known in routes.items():
        metrics.paused.labels(name).set(1 if machinery.paused.get(name) else 0)
        metrics.polls.labels(name).set(known.route.poll_interval.total_seconds())
    await service.finished.look()
