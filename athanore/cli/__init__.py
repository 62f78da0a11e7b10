"""The command line: `athanore`.

Commands parse, call and print; what they do is in the packages below. Each group of commands is a
module of its own, and Prefect is imported only by a command that needs it, so that help is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError, Group

from athanore.cli import (
    acting,
    copying,
    costs,
    deploying,
    fleet,
    looking,
    serving,
    starting,
    task_views,
)
from athanore.cli.keys import key_app
from athanore.cli.workspaces import workspaces_app
from athanore.errors import (
    AmbiguousRouteError,
    AthanoreError,
    ConfigurationError,
    NotFoundError,
    PrefectUnavailableError,
)
from athanore.http_client.proxies import spare_loopback
from athanore.processes.inherited import forget_empty_variables
from athanore.settings import explain_prefect
from athanore.texts import shown
from athanore.version import __version__

_GROUPS = {
    "Begin": (starting.init, starting.doctor, starting.validate),
    "Run": (serving.up, serving.api),
    "Deploy": (
        deploying.deploy,
        deploying.pools,
        deploying.prefect_yaml,
        deploying.automations,
    ),
    "Look": (
        looking.status,
        looking.tasks,
        looking.routes,
        looking.dead_letters,
        fleet.workers,
        costs.costs,
        task_views.show,
        task_views.explain,
        task_views.logs,
    ),
    "Act": (
        acting.create,
        acting.comment,
        acting.move,
        acting.dispatch,
        acting.cancel,
        acting.requeue,
        acting.pause,
        acting.resume,
    ),
}

_MISTAKES = (AmbiguousRouteError, ConfigurationError, NotFoundError, PrefectUnavailableError)

REFUSED, MISTAKE, INTERRUPTED = 1, 2, 130


def make_app() -> App:
    """Put the commands together."""
    app = App(
        name="athanore",
        help="Watch the queues of a task board and have AI agents do the work, on Prefect.",
        help_epilogue=(
            "APP is where the dispatcher is: run.py:dispatcher or package.module:dispatcher. "
            "Without it ATHANORE_APP counts, then run.py in this folder.\n\n"
            "Exit codes: 0 fine, 1 refused for now or a finding of doctor, 2 a mistake to mend, "
            "130 interrupted."
        ),
        version=__version__,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
        help="Have the shell complete commands and options."
    )
    for number, (title, commands) in enumerate(_GROUPS.items()):
        group = Group(title, sort_key=number)
        for place, command in enumerate(commands):
            app.command(command, group=group, sort_key=place)
        if title == "Run":
            app.command(fleet.worker_app(group, len(commands)))
        if title == "Act":
            app.command(copying.board(group, len(commands)))
            app.command(key_app(group, len(commands) + 1))
        if title == "Act":
            app.command(workspaces_app(group))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 fine, 1 refused for now, 2 a mistake to mend, 130 interrupted.

    Args:
        arguments: the words after `athanore`; by default those of this process.
    """
    spare_loopback()
    forget_empty_variables()
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        # What a terminal or a pipe with another encoding cannot show is written out.
        reconfigure(errors="backslashreplace")
    try:
        code = make_app()(sys.argv[1:] if arguments is None else arguments)
    except CycloptsError as exc:
        _fail(str(exc), MISTAKE)
    except _MISTAKES as exc:
        _fail(str(exc), MISTAKE)
    except AthanoreError as exc:
        _fail(str(exc), REFUSED)
    except (ValueError, RuntimeError) as exc:
        if (says := explain_prefect(exc)) is None:
            raise
        _fail(says, MISTAKE)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough; nothing is left to say, not even at exit.
        sys.stderr.close()
        raise SystemExit(REFUSED) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> NoReturn:
    sys.stderr.write(f"athanore: {shown(' '.join(text.split()))}\n")
    raise SystemExit(code) from None
