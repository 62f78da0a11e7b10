"""Why one task is where it is, also one at rest.

What is said is read from the board and from Prefect when it is asked for; nothing is remembered.
"""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun

from athanore.models import Task
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import listed, watched
from athanore.runtime.routes.route_registry import Routes
from athanore.services import dead_letters
from athanore.services.holds import Holds
from athanore.services.status import reasons
from athanore.services.status.reasons import Explanation, command


async def explain(prefect: RunStore, app: App, task: Task) -> Explanation:
    """Say why a task is where it is.

    Args:
        task: as it was just read from the board.

    Raises:
        BoardError: the board does not answer.
    """
    routes = await app.routes.read(prefect)
    known = await reasons.read(prefect, app, routes, [task])
    seen = await reasons.of_task(known, task, Holds(app, routes), whole=True)
    if seen is not None:
        return seen
    last = (await store.last_finished_runs(prefect, app.name, [task.id])).get(task.id)
    return _nobody_watches(prefect, task, routes, last)


def _nobody_watches(
    prefect: RunStore, task: Task, routes: Routes, last: FlowRun | None
) -> Explanation:
    """A task in a queue that is no route's: given up, done, left in progress, or never ours."""
    if task.queue_name in dead_letters.places(routes):
        letter = dead_letters.dead_letter(prefect, routes, task, last)
        if letter is not None:
            reason = f"It was given up: {letter.reason.rstrip('.')}."
            return Explanation(letter.route, reason, None, (command("requeue", task.id),))
    reason = f"No route watches {task.queue_name!r} (watched: {listed(watched(routes))})."
    if last is None or last.state is None:
        return Explanation(None, reason)
    said = (last.state.message or "").partition("\n")[0].rstrip(".")
    reason = f"Its last run ended as {last.state.name}{f' ({said})' if said else ''}. " + reason
    commands: tuple[str, ...] = ()
    if any(k.route.in_progress_queue == task.queue_name for k in routes.values()):
        commands = (command("requeue", task.id), command("move", task.id, "QUEUE"))
    return Explanation(store.route_name(last), reason, None, commands)
