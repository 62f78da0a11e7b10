"""On which host the folder of a task is: where its last agent was."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from athanore import names
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of

_LATEST = 5
"""Runs of a task that are looked at: those that were superseded had no agent."""


async def home_of(prefect: RunStore, app: str, run: FlowRun) -> str:
    """The host whose worker had a run's task last, by its name; "" if none had."""
    if found := _host(run, app):
        return found
    if (task_id := names.task_of(run.tags)) is None:
        return ""
    before = await store.find_runs(
        prefect,
        app,
        (*store.WORKING, *store.FINISHED),
        task_ids=[task_id],
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=_LATEST,
    )
    return next((host for one in before if (host := _host(one, app))), "")


def _host(run: FlowRun, app: str) -> str:
    worker = names.short_worker_name(record_of(run).worker, app)
    return names.host_of_worker(worker)
