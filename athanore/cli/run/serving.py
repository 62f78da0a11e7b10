"""Commands that run until they are stopped: up, worker, api."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from athanore.cli.context import AppArgument, Debug, check_routes, find_app
from athanore.cli.output import print_table, say
from athanore.settings import LogFormat, Reload
from athanore.texts import cut

if TYPE_CHECKING:
    from athanore.dispatcher import AgentDispatcher

_MAX_CELL = 200

type LogFormatOption = Annotated[
    LogFormat | None,
    Parameter(
        name="--log-format",
        help="auto (live view on a terminal), text (lines), or json (an object a line).",
    ),
]

type LimitOption = Annotated[
    int | None,
    Parameter(
        name="--limit",
        validator=Number(gte=1),
        help="How many agents this worker takes at once; without it ATHANORE_WORKER_LIMIT.",
    ),
]

type LabelsOption = Annotated[
    str | None,
    Parameter(
        name="--host-labels",
        help="What kind of host this is, as macos,big; without it ATHANORE_HOST_LABELS.",
    ),
]

type MemoryOption = Annotated[
    int | None,
    Parameter(
        name="--min-free-memory",
        validator=Number(gte=0),
        help="Megabytes of free memory below which no agent is started here.",
    ),
]

type DiskOption = Annotated[
    int | None,
    Parameter(
        name="--min-free-disk",
        validator=Number(gte=0),
        help="Megabytes of free disk, where agents work, below which none is started here.",
    ),
]


def up(
    app: AppArgument = None,
    /,
    *,
    limit: LimitOption = None,
    host_labels: LabelsOption = None,
    min_free_memory: MemoryOption = None,
    min_free_disk: DiskOption = None,
    dry_run: Annotated[
        bool,
        Parameter(
            name="--dry-run",
            negative="",
            help="Read the board, say which agents would start and why not the rest, and end.",
        ),
    ] = False,
    reload: Annotated[
        Reload | None,
        Parameter(
            name="--reload",
            help="auto: take a changed run.py over by itself; auto-insecurely: also where agents "
            "can write it.",
        ),
    ] = None,
    debug: Debug = False,
    log_format: LogFormatOption = None,
) -> None:
    """Run everything in the foreground: Prefect if none runs, the worker and the task API.

    Ctrl-C stops it; running agents may finish first. A second Ctrl-C stops them, too.
    """
    name, dispatcher = find_app(app)
    if dry_run:
        check_routes(name, dispatcher)
        _rehearse(name, dispatcher)
        return
    from athanore.launch.foreground import run_app

    _set_capacity(dispatcher, limit, host_labels, min_free_memory, min_free_disk)
    if reload is not None:
        dispatcher.settings = dispatcher.settings.model_copy(update={"reload": reload})
    run_app(dispatcher, reference=name, debug=debug, log_format=log_format)


def worker(
    app: AppArgument = None,
    /,
    *,
    limit: LimitOption = None,
    host_labels: LabelsOption = None,
    min_free_memory: MemoryOption = None,
    min_free_disk: DiskOption = None,
    debug: Debug = False,
    log_format: LogFormatOption = None,
) -> None:
    """Run a worker: it polls the routes and runs agents. Start as many as you like, on any host.

    On SIGTERM or Ctrl-C it takes no more work, and its agents may finish within shutdown_grace.
    """
    from athanore.launch.parts import run_worker

    name, dispatcher = find_app(app)
    _set_capacity(dispatcher, limit, host_labels, min_free_memory, min_free_disk)
    run_worker(dispatcher, name, debug=debug, log_format=log_format)


def api(
    app: AppArgument = None, /, *, debug: Debug = False, log_format: LogFormatOption = None
) -> None:
    """Serve the task API, which agents use, on api_host:api_port."""
    from athanore.launch.parts import run_api

    name, dispatcher = find_app(app)
    run_api(dispatcher, name, debug=debug, log_format=log_format)


def _set_capacity(
    dispatcher: AgentDispatcher,
    limit: int | None,
    labels: str | None,
    memory: int | None,
    disk: int | None,
) -> None:
    """Have the options of a command win over the settings."""
    given = {
        "worker_limit": limit,
        "host_labels": labels,
        "min_free_memory": memory,
        "min_free_disk": disk,
    }
    dispatcher.settings = dispatcher.settings.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


def _rehearse(name: str, dispatcher: AgentDispatcher) -> None:
    from athanore.launch.inspection.checks import board_place, check_agent, look_at_board
    from athanore.launch.prefect.prefect_access import check_tokens
    from athanore.runtime.apps import App
    from athanore.services.status import dry_run

    check_tokens(dispatcher)
    for route in dispatcher.routes.values():
        check_agent(dispatcher, route)
    if look_at_board(dispatcher) is None:
        say(f"No agent would start: {board_place(dispatcher.board)} is made at the first start.")
        return
    planned = asyncio.run(dry_run.plan(App(name, dispatcher)))
    count = sum(p.starts for p in planned)
    say(f"{count} agent{'' if count == 1 else 's'} would start; nothing was changed.", "bold")
    print_table(
        ("task", "name", "queue", "route", "starts", "prompt, or why not"),
        (
            (
                p.task.id,
                cut(p.task.name, _MAX_CELL),
                p.task.queue_name,
                p.route or "",
                "yes" if p.starts else "no",
                cut(p.says, _MAX_CELL),
            )
            for p in planned
        ),
        cut=("name",),
        wraps="prompt, or why not",
    )
