"""Commands about the workers of an app: list them, empty one, restart them one by one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Group, Parameter

from athanore.cli.at_work import from_app, in_path, order
from athanore.cli.context import AppOption, AsJson, user, with_app
from athanore.cli.output import print_json, print_table, say
from athanore.errors import ConfigurationError
from athanore.launch.terminal.display import ago
from athanore.services.showing.views import WorkerView

type WorkerName = Annotated[
    str,
    Parameter(name="NAME", help="A worker, the beginning of its name, or a host for all there."),
]

_CLOCK_TOLERANCE = 10.0
"""Seconds; a smaller difference is none, since the clocks are read over the network."""


def worker_app(group: Group, place: int) -> App:
    """Put the commands together: `worker` itself, `worker drain` and `worker resume`."""
    from athanore.cli.run.serving import worker

    app = App(name="worker", group=group, sort_key=place, help=worker.__doc__)
    app.default(worker)
    app.command(drain)
    app.command(resume)
    return app


def workers_app(group: Group, place: int) -> App:
    """Put `workers` and `workers restart` together."""
    app = App(name="workers", group=group, sort_key=place, help=workers.__doc__)
    app.default(workers)
    app.command(restart)
    return app


def workers(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the workers: their hosts, how many agents they have and take, whether they live."""
    found = from_app(app, tuple[WorkerView, ...], "/workers")
    if found is None:
        from athanore.services import fleet

        found = with_app(app, fleet.workers)
    if json:
        print_json(found)
        return
    if not found:
        say("No worker is there; start one: athanore worker.")
        return
    print_table(
        ("worker", "host", "labels", "agents", "state", "last seen", "since", "version"),
        (
            (
                w.name,
                w.host,
                ", ".join(w.labels),
                str(w.agents) if w.limit is None else f"{w.agents} of {w.limit}",
                _state(w),
                "" if w.last_seen is None else f"{ago(w.last_seen)} ago",
                "" if w.started_at is None else f"{ago(w.started_at)} ago",
                w.version,
            )
            for w in found
        ),
        cut=("version", "labels", "host"),
        wraps="state",
    )


def drain(
    worker: WorkerName,
    /,
    *,
    then_exit: Annotated[
        bool,
        Parameter(
            name="--then-exit", negative="", help="And end it when it has no agent any more."
        ),
    ] = False,
    app: AppOption = None,
) -> None:
    """Have a worker take nothing new; its agents work on.

    It hears of it within 5 s, of more than four workers within 15 s.
    """
    body = {"then_exit": then_exit, "by": user()}
    if (done := order(app, f"/workers/{in_path(worker)}/drain", body)) is not None:
        names = done["workers"]
    else:
        from athanore.services import fleet

        names = with_app(app, lambda c, a: fleet.drain(c, a, worker, user(), then_exit=then_exit))
    for name in names:
        say(f"{name} takes nothing new" + ("; it ends when it is empty." if then_exit else "."))


def resume(worker: WorkerName, /, *, app: AppOption = None) -> None:
    """Let a drained worker take runs again."""
    if (done := order(app, f"/workers/{in_path(worker)}/resume")) is not None:
        names = done["workers"]
    else:
        from athanore.services import fleet

        names = with_app(app, lambda c, a: fleet.resume(c, a, worker))
    for name in names:
        say(f"{name} takes runs again.")


def restart(worker: WorkerName | None = None, /, *, app: AppOption = None) -> None:
    """End all workers, or those named, one after the other, each when there is one for it again.

    No agent is stopped: a worker takes nothing new, and ends when it has none. What has started it
    (systemd, compose, Kubernetes) starts it again; else this says what to run, and where.
    """
    from athanore.runs.links import named_api
    from athanore.services import fleet

    if named_api() is None:
        raise ConfigurationError(
            "PREFECT_API_URL is not set, so Prefect is the one that an app starts, and ends with "
            "it: stop the app and start it again, `athanore stop` and then `python run.py`. "
            "Workers are restarted one by one where Prefect has a server of its own."
        )
    with_app(app, lambda c, a: fleet.restart(c, a, worker, user(), say))


def _state(worker: WorkerView) -> str:
    says = worker.says
    if abs(worker.clock_offset) > _CLOCK_TOLERANCE:
        ahead = "ahead" if worker.clock_offset > 0 else "behind"
        clock = f"its clock is {abs(worker.clock_offset):.0f} s {ahead}"
        says = f"{says}; {clock}" if says else clock
    return f"{worker.state}: {says}" if says else worker.state
