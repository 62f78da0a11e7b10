"""Commands that run until they are stopped: up, worker, api."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from athanore.cli.context import AppArgument, Debug, find_app
from athanore.settings import LogFormat

type LogFormatOption = Annotated[
    LogFormat | None,
    Parameter(
        name="--log-format",
        help="auto (live view on a terminal), text (lines), or json (an object a line).",
    ),
]


def up(
    app: AppArgument = None, /, *, debug: Debug = False, log_format: LogFormatOption = None
) -> None:
    """Run everything in the foreground: Prefect if none runs, the worker and the task API.

    Ctrl-C stops it; running agents may finish first. A second Ctrl-C stops them, too.
    """
    from athanore.launch.foreground import run_app

    name, dispatcher = find_app(app)
    run_app(dispatcher, reference=name, debug=debug, log_format=log_format)


def worker(
    app: AppArgument = None, /, *, debug: Debug = False, log_format: LogFormatOption = None
) -> None:
    """Run a worker: it polls the routes and runs agents. Start as many as you like, on any host.

    On SIGTERM or Ctrl-C it takes no more work, and its agents may finish within shutdown_grace.
    """
    from athanore.launch.parts import run_worker

    name, dispatcher = find_app(app)
    run_worker(dispatcher, name, debug=debug, log_format=log_format)


def api(
    app: AppArgument = None, /, *, debug: Debug = False, log_format: LogFormatOption = None
) -> None:
    """Serve the task API, which agents use, on api_host:api_port."""
    from athanore.launch.parts import run_api

    name, dispatcher = find_app(app)
    run_api(dispatcher, name, debug=debug, log_format=log_format)
