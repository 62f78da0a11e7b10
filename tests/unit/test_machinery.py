"""Which workers an app has, by what Prefect last heard of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Worker, WorkerStatus

from athanore.runs.capacity.fleet import heard_lately

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def worker(name: str, silent_for: float | None) -> Worker:
    heard = None if silent_for is None else NOW - timedelta(seconds=silent_for)
    return Worker(
        name=name, work_pool_id=uuid4(), last_heartbeat_time=heard, status=WorkerStatus.ONLINE
    )


@pytest.mark.parametrize(
    ("silent", "shown"),
    [
        ({"alive": 3, "stopped": 60}, ["alive"]),
        ({"ours": 3, "a stock worker": 33}, ["ours", "a stock worker"]),
        ({"the only one": 80}, ["the only one"]),
        ({"alive": 3, "new": None}, ["alive", "new"]),
        ({}, []),
    ],
)
def test_a_worker_that_went_silent_beside_others_is_not_shown(
    silent: dict[str, float | None], shown: list[str]
) -> None:
    assert [w.name for w in heard_lately([worker(*w) for w in silent.items()])] == shown
