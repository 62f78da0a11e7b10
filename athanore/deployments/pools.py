"""Work pools and their queues: limits, and the order in which routes get the free slots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, WorkPool, WorkQueue
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from athanore.deployments.plan import DeploymentPlan, PoolPlan, QueuePlan
from athanore.errors import ConfigurationError
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import APP_VARIABLE

WORKER_TYPE = "athanore"
PROCESS_TYPE = "process"

IF_ONE_RUNS = ConcurrencyLimitStrategy.CANCEL_NEW
"""What becomes of a poll that falls due for a process worker while another poll of its route runs.

Such a poll may take longer than its interval, and those that wait would become ever more.
"""

# Prefect checks each new run against it. Its default for workers offers variables that a coroutine
# has no use for, and costs a third of the creation.
JOB_TEMPLATE: dict[str, Any] = {
    "job_configuration": {"labels": {}},
    "variables": {"type": "object", "properties": {}},
}


def job_template(pool_type: str, app: str) -> dict[str, Any] | None:
    """What runs of a pool may set: nothing. None for a type of pool that is not known here.

    Prefect's default for process pools lets every run name the command that is started, its
    environment and its folder, and whoever can create a run can do that.
    """
    if pool_type == WORKER_TYPE:
        return JOB_TEMPLATE
    if pool_type == PROCESS_TYPE:
        return {
            "job_configuration": {
                "command": None,  # Prefect's engine, in the worker's own Python
                "env": {APP_VARIABLE: app},
                "working_dir": None,  # the deployment says where the app is
                "stream_output": True,
            },
            # The worker lets a run add to `env` even so; with this the server refuses the run.
            "variables": {"type": "object", "properties": {}, "additionalProperties": False},
        }
    return None


def is_limited(deployment: DeploymentPlan, *, is_process: bool) -> bool:
    """Tell whether one run of a deployment at a time is allowed: of polls that need processes."""
    return is_process and deployment.interval is not None


async def make_pools(
    client: PrefectRunStore, pools: Iterable[PoolPlan], pool_type: str | None = None
) -> list[str]:
    """Create the pools and queues that are missing, and set limits and priorities.

    Args:
        pool_type: the type of new pools; `athanore` by default, `process` for Prefect's own worker.

    Returns a line for each thing that was changed; none if all was as planned.

    Raises:
        ConfigurationError: a pool exists and is of another type than the one asked for.
    """
    changes: list[str] = []
    for plan in pools:
        pool = await _make_pool(client, plan, pool_type, changes)
        if plan.queues:
            await _make_queues(client, pool, plan, changes)
    return changes


async def _make_pool(
    client: PrefectRunStore, plan: PoolPlan, pool_type: str | None, changes: list[str]
) -> WorkPool:
    wanted = WorkPoolCreate(
        name=plan.name,
        type=pool_type or WORKER_TYPE,
        description=plan.description,
        concurrency_limit=plan.concurrency_limit,
    )
    if (template := job_template(wanted.type, plan.app)) is not None:
        wanted.base_job_template = template
    try:
        pool = await client.read_work_pool(plan.name)
    except ObjectNotFound:
        try:
            pool = await client.create_work_pool(wanted)
            changes.append(f"created work pool {plan.name!r} ({_limit(plan.concurrency_limit)})")
        except ObjectAlreadyExists:  # somebody else was faster
            pool = await client.read_work_pool(plan.name)
    if pool_type is not None and pool.type != pool_type:
        raise ConfigurationError(
            f"The work pool {plan.name!r} is of type {pool.type!r}, not {pool_type!r}; "
            f"delete it first (prefect work-pool delete {plan.name!r}) to change that."
        )
    if pool.concurrency_limit != plan.concurrency_limit:
        changes.append(f"work pool {plan.name!r}: {_limit(plan.concurrency_limit)}")
    template = job_template(pool.type, plan.app) or pool.base_job_template
    if pool.base_job_template != template:
        changes.append(f"work pool {plan.name!r}: runs may set nothing of their process")
    is_planned = (plan.concurrency_limit, plan.description, template)
    if (pool.concurrency_limit, pool.description, pool.base_job_template) != is_planned:
        await client.update_work_pool(
            plan.name,
            WorkPoolUpdate(
                description=plan.description,
                concurrency_limit=plan.concurrency_limit,
                base_job_template=template,
            ),
        )
    return pool


async def _make_queues(
    client: PrefectRunStore, pool: WorkPool, plan: PoolPlan, changes: list[str]
) -> None:
    there = {q.name: q for q in await client.work_queues(pool.name)}
    missing = [q for q in plan.queues if q.name not in there]
    for queue in missing:
        await _create_queue(client, pool.name, queue)
        changes.append(f"created work queue {queue.name!r} ({_limit(queue.concurrency_limit)})")
    if missing:  # each new one may have pushed others back
        there = {q.name: q for q in await client.work_queues(pool.name)}
    for wanted in plan.queues:
        queue = there[wanted.name]
        # Why a route is paused may stand in the description of its queue.
        text = queue.description if queue.is_paused else wanted.description
        if (queue.concurrency_limit, queue.description) != (wanted.concurrency_limit, text):
            if queue.concurrency_limit != wanted.concurrency_limit:
                limit = _limit(wanted.concurrency_limit)
                changes.append(f"work queue {wanted.name!r}: {limit}")
            await client.update_work_queue(
                queue.id, concurrency_limit=wanted.concurrency_limit, description=text
            )
    await _order_queues(client, pool, plan, there, changes)


async def _order_queues(
    client: PrefectRunStore,
    pool: WorkPool,
    plan: PoolPlan,
    there: dict[str, WorkQueue],
    changes: list[str],
) -> None:
    """Number the queues: the routes' as planned, then queues of others, the pool's default last.

    A server may push other queues back when one gets a number. In ascending order that never
    reaches those that are done, so all from the first difference on are set.
    """
    planned = {q.name for q in plan.queues}
    others = [q for q in there.values() if q.name not in planned]
    others.sort(key=lambda q: (q.id == pool.default_queue_id, q.priority or 0))
    ordered = [there[q.name] for q in plan.queues] + others
    priorities = [q.priority for q in plan.queues]
    priorities += range(len(planned) + 1, len(ordered) + 1)
    wrong = False
    for queue, priority in zip(ordered, priorities, strict=True):
        wrong = wrong or queue.priority != priority
        if wrong:
            await client.update_work_queue(queue.id, priority=priority)
            if queue.name in planned and queue.priority != priority:
                changes.append(f"work queue {queue.name!r}: priority {priority}")


async def _create_queue(client: PrefectRunStore, pool: str, wanted: QueuePlan) -> None:
    try:
        await client.create_work_queue(
            wanted.name,
            description=wanted.description,
            priority=wanted.priority,
            concurrency_limit=wanted.concurrency_limit,
            work_pool_name=pool,
        )
    except ObjectAlreadyExists:  # somebody else was faster
        return


def _limit(limit: int | None) -> str:
    return "no limit" if limit is None else f"limit {limit}"
