"""The workers of an app: who there is, and emptying one of them."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.errors import WorkerNotFoundError
from athanore.runs import store
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import Drain
from athanore.runs.port import RunStore
from athanore.runs.record import record_of
from athanore.runtime.apps import App
from athanore.services.views import WorkerView


async def workers(prefect: RunStore, app: App) -> list[WorkerView]:
    """List an app's workers by name: those that live, and those that went without a word."""
    known = await fleet.read_fleet(prefect, app.name)
    alive = {w.name: w for w in await fleet.living(prefect, names.agents_pool(app.name))}
    counts = _agents(await store.find_runs(prefect, app.name, store.WORKING))
    views: list[WorkerView] = []
    entries = {e.pool_name: e for e in known.workers.values()}
    for pool_name in sorted({*alive, *entries}):
        entry, worker = entries.get(pool_name), alive.get(pool_name)
        name = names.short_worker_name(pool_name, app.name)
        agents = counts.get(pool_name, 0)
        drain = known.drains.get(name)
        state, says = "ready", ""
        if worker is None:
            state, says = "lost", "not heard of any more, and it did not say goodbye"
        elif drain is not None:
            state = "draining" if agents else "drained"
            says = f"asked for by {drain.by or 'somebody'}"
            says += "; it ends when it is empty" if drain.then_exit else ""
        elif entry is not None and entry.full:
            state, says = "full", entry.full
        elif entry is not None and entry.limit is not None and agents >= entry.limit:
            state = "full"
        views.append(
            WorkerView(
                name=name,
                host=entry.host if entry else "",
                labels=entry.labels if entry else (),
                agents=agents,
                limit=entry.limit if entry else None,
                version=entry.version if entry else "",
                started_at=entry.started_at if entry else None,
                last_seen=worker.last_heartbeat_time if worker else None,
                clock_offset=entry.clock_offset if entry else 0.0,
                state=state,
                says=says,
            )
        )
    return views


async def drain(
    prefect: RunStore, app: App, worker: str, by: str, *, then_exit: bool = False
) -> list[str]:
    """Have a worker take nothing new; its agents work on. It hears of it within some seconds.

    Args:
        worker: its name, the beginning of it, or a host's name for all workers there.
        by: who asks for it.
        then_exit: it ends when it has no agent any more.

    Returns:
        The names of the workers that are meant.

    Raises:
        WorkerNotFoundError: none that lives is called so, or several names begin so.
    """
    found = _meant(await workers(prefect, app), worker)
    for name in found:
        asked = Drain(name, app.clock.now(), by, then_exit)
        await fleet.drain(prefect, app.name, asked)
    return found


async def resume(prefect: RunStore, app: App, worker: str) -> list[str]:
    """Let a drained worker take runs again; see `drain`."""
    found = _meant(await workers(prefect, app), worker)
    for name in found:
        await fleet.resume(prefect, app.name, name)
    return found


def _meant(views: list[WorkerView], worker: str) -> list[str]:
    there = [v for v in views if v.state != "lost"]
    if any(v.name == worker for v in there):
        return [worker]
    if found := [v.name for v in there if v.host == worker]:
        return found
    found = [v.name for v in there if v.name.startswith(worker)]
    if len(found) != 1:
        raise WorkerNotFoundError(worker, [v.name for v in there], found)
    return found


def _agents(working: list[FlowRun]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for run in working:
        if (holder := record_of(run).worker) and names.task_of(run.tags) is not None:
            counts[holder] = counts.get(holder, 0) + 1
    return counts
