"""The workers of an app: who there is, emptying one of them, and restarting one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.errors import WorkerNotFoundError
from athanore.runs import store
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import Drain
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.services.showing.views import WorkerView


async def workers(prefect: RunStore, app: App) -> list[WorkerView]:
    """List an app's workers by name: those that live, and those that went without a word."""
    known = await fleet.read_fleet(prefect, app.name)
    pool = names.agents_pool(app.name)
    alive = {w.name: w for w in await fleet.living(prefect, pool)}
    counts = _agents(await store.find_runs(prefect, app.name, store.WORKING))
    views: list[WorkerView] = []
    entries = {e.pool_name: e for e in known.workers.values()}
    heard = {name: w.last_heartbeat_time for name, w in alive.items()}
    if not heard.keys() >= entries.keys():  # of those that are lost Prefect knows it, too
        heard |= {w.name: w.last_heartbeat_time for w in await prefect.workers(pool)}
    for pool_name in sorted({*alive, *entries}):
        entry, worker = entries.get(pool_name), alive.get(pool_name)
        name = names.short_worker_name(pool_name, app.name)
        if entry is None and name != pool_name:
            continue  # one of ours that has said goodbye; Prefect names it for a while longer
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
                last_seen=heard.get(pool_name),
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


async def restart(
    prefect: RunStore,
    app: App,
    worker: str | None,
    by: str,
    tell: Callable[[str], None],
    *,
    every: timedelta = timedelta(seconds=2),
    patience: timedelta = timedelta(seconds=30),
) -> None:
    """End workers one after the other, each when another is there for the one before it.

    None of their agents is stopped: a worker ends when it has none any more. To start it again is
    up to what has started it, as systemd or Kubernetes; where nothing does, it is told what to run.

    Args:
        worker: which are meant, as for `drain`; None for all that live.
        by: who asks for it.
        tell: is given a line for each step.
        every: how often is looked.
        patience: so long nothing is said while another worker is waited for.

    Raises:
        WorkerNotFoundError: none that lives is called so, or several names begin so.
    """
    views = await workers(prefect, app)
    there = [v.name for v in views if v.state != "lost"]
    for name in there if worker is None else _meant(views, worker):
        before = {v.name: v for v in await workers(prefect, app)}
        if name not in before:
            continue
        await drain(prefect, app, name, by, then_exit=True)
        tell(f"{name} takes nothing new, and ends when it is empty.")
        await _end_of(prefect, app, name, tell, every)
        tell(f"{name} has ended.")
        came = await _another(prefect, app, before, before[name], tell, every, patience)
        version = f", version {came.version}" if came.version else ""
        tell(f"{came.name} has come{version}.")


async def _end_of(
    prefect: RunStore, app: App, name: str, tell: Callable[[str], None], every: timedelta
) -> None:
    told = 0
    while True:
        found = [v for v in await workers(prefect, app) if v.name == name]
        if not found or found[0].state == "lost":
            return
        if (agents := found[0].agents) and agents != told:
            tell(f"{name} waits for {agents} agent{'' if agents == 1 else 's'}.")
            told = agents
        await asyncio.sleep(every.total_seconds())


async def _another(
    prefect: RunStore,
    app: App,
    before: Mapping[str, WorkerView],
    gone: WorkerView,
    tell: Callable[[str], None],
    every: timedelta,
    patience: timedelta,
) -> WorkerView:
    """Wait for a worker that is new and is on the same kind of host."""
    waited = timedelta(0)
    told = False
    while True:
        for view in await workers(prefect, app):
            is_new = view.name not in before
            if is_new and view.state != "lost" and set(view.labels) == set(gone.labels):
                return view
        if waited >= patience and not told:
            limit = "" if gone.limit is None else f" --limit {gone.limit}"
            labels = f" --host-labels {','.join(gone.labels)}" if gone.labels else ""
            tell(
                f"Nothing has started another worker for {gone.name} yet. On host {gone.host!r} "
                f"run: athanore worker{limit}{labels}"
            )
            told = True
        waited += every
        await asyncio.sleep(every.total_seconds())


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
