"""Finished runs whose tasks no sweep sees: what they owe them, wherever these are.

A sweep reads the queues that routes use. A task whose route is gone, or whose in-progress queue the
code calls otherwise now, may be in none of them, while its last run has failed and the board was
away: the dead letter is still to be made. So runs that failed or crashed, or were cancelled while
they had their task, are looked at as they end, and once at the start those of the last two weeks.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from athanore import names
from athanore.runs import store
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.route_record import RouteRecord
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes

_BACK = timedelta(days=14)
_OVERLAP = timedelta(minutes=1)
_PAGE = 200
_MOST = 1000


async def find(prefect: RunStore, app: App, routes: Routes) -> list[tuple[FlowRun, str]]:
    """The newest runs of tasks that no sweep sees, as far as something is due to the task.

    Each with the id of its task.
    """
    await _note_ended(prefect, app)
    in_use = {name for known in routes.values() for name in known.route.names}
    seen = {q for k in routes.values() for q in (k.route.in_progress_queue, k.route.waiting_queue)}
    gone = [
        run_id
        for run_id, (route, places) in app.noted.owing.items()
        if route not in in_use or not seen.issuperset(places)
    ][:_PAGE]
    if not gone:
        return []
    runs = {str(names.task_of(r.tags)): r for r in await prefect.find(RunQuery(ids=gone))}
    last = await store.last_finished_runs(prefect, app.name, list(runs))
    active = await store.active_by_task(prefect, app.name, list(runs))
    found: list[tuple[FlowRun, str]] = []
    for run_id in gone:
        task_id, run = next(((t, r) for t, r in runs.items() if r.id == run_id), ("", None))
        newest = last.get(task_id)
        is_over = newest is None or newest.id != run_id or task_id in active
        if run is None or is_over or record_of(run).is_closed:
            del app.noted.owing[run_id]
        else:
            found.append((run, task_id))
    return found


async def _note_ended(prefect: RunStore, app: App) -> None:
    """Note the runs that have ended so since the last look, and are not closed."""
    now, noted = app.clock.now(), app.noted
    query = RunQuery(
        tags=[names.app_tag(app.name), names.AGENT_TAG],
        states=(StateType.FAILED, StateType.CRASHED, StateType.CANCELLED),
        ended_after=noted.ended_seen or now - _BACK,
    )
    for offset in range(0, _MOST, _PAGE):
        page = await prefect.find(query, sort=FlowRunSort.END_TIME_DESC, limit=_PAGE, offset=offset)
        for run in page:
            record = record_of(run)
            if names.task_of(run.tags) is None or record.is_closed:
                continue
            if run.state_type is StateType.CANCELLED and not record.may_have_its_task:
                continue
            begun = RouteRecord.parse(record.route)
            places = (begun.in_progress_queue if begun else "", record.place)
            noted.owing[run.id] = (store.route_name(run), tuple(filter(None, places)))
        if len(page) < _PAGE:
            break
    noted.ended_seen = now - _OVERLAP
    while len(noted.owing) > _MOST:
        del noted.owing[next(iter(noted.owing))]
