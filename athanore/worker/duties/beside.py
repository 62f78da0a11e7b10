"""What a worker does besides its runs, by what it is called in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from athanore import names
from athanore.flows.sweeping.sweep import Sweep
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.leases.lease_keeper import KnownRuns
from athanore.worker.cancellation import watch_cancellations
from athanore.worker.duties.board_watch import BoardWatch
from athanore.worker.duties.notifying import keep_delivering
from athanore.worker.duties.pull_watch import watch_pulls
from athanore.worker.duties.tidying import tidy
from athanore.worker.poll_runs.polls import forget_empty_polls
from athanore.worker.taking.arrivals import watch_arrivals

type Work = dict[str, Callable[[], Awaitable[object]]]


async def beside_polls(
    client: PrefectRunStore, apps: Sequence[App], pool: str, wake: Callable[[], None]
) -> Work:
    """The work of a worker of polls.

    Args:
        wake: has the worker look for due polls now.
    """
    work: Work = {
        "The deletion of empty polls": partial(forget_empty_polls, client, apps),
        "The watch for polls that a webhook asks for": partial(
            watch_arrivals, client, pool, lambda _: wake(), names.WEBHOOK_POLL
        ),
    }
    worker = names.worker_name()
    for app in apps:
        sweep = Sweep(client, app)
        watch = BoardWatch(client, app, woken=wake, taken=sweep.soon, sharing=sweep.sharing)
        await watch.begin()
        work[f"The look after runs of {app.name!r}"] = sweep.sweep
        work[f"The look at pull requests of {app.name!r}"] = partial(watch_pulls, client, app)
        work[f"The watch of the board of {app.name!r}"] = watch.watch
        work[f"The messages of {app.name!r}"] = partial(keep_delivering, client, app, worker)
    return work


def beside_agents(
    client: PrefectRunStore,
    apps: Sequence[App],
    known: Callable[[], KnownRuns],
    pool: str,
    arrived: Callable[[UUID], None],
) -> Work:
    """The work of a worker of agent runs.

    Args:
        known: tells which runs the worker has.
        arrived: called with the id of each run that is scheduled in the pool.
    """
    return {
        "The watch for cancellations": partial(watch_cancellations, client, known),
        "The watch for new runs": partial(watch_arrivals, client, pool, arrived),
        **{f"The removal of folders of {a.name!r}": partial(tidy, a) for a in apps},
    }
