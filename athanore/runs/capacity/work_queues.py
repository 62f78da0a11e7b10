"""Reading the work queues of a pool."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkQueueFilter
from prefect.client.schemas.objects import WorkQueue

_PAGE = 200


async def queues_of(client: PrefectClient, pool: str) -> list[WorkQueue]:
    """Return all work queues of a pool."""
    found: list[WorkQueue] = []
    while True:
        page = await client.read_work_queues(
            work_pool_name=pool,
            work_queue_filter=WorkQueueFilter(),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
