"""The command line: `athanore`.

Commands parse, call and print; what they do is in the packages below. Each group of commands is a
module of its own, which is imported when one of them is given, and Prefect is imported only where
an app that runs cannot tell: so most answers come at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, Group, UnknownOptionError

from athanore.errors import (
    AmbiguousRouteError,
    AthanoreError,
    ConfigurationError,
    InvalidTaskError,
    NotFoundError,
    PrefectUnavailableError,
)
from athanore.processes.inherited import forget_empty_variables
from athanore.texts import is_storable, shown
from athanore.version import __version__

_GROUPS = {
    "Begin": (
        "setup.demo:demo",
        "setup.starting:init",
        "setup.starting:doctor",
        "setup.starting:validate",
    ),
    "Run": (
        "run.serving:up",
        "run.serving:api",
        "run.running:open_",
        "run.running:stop",
        "run.running:restart",
    ),
    "Deploy": (
        "deploy.deploying:deploy",
        "deploy.deploying:pools",
        "deploy.deploying:prefect_yaml",
        "deploy.deploying:automations",
        "deploy.undeploying:undeploy",
    ),
    "Look": (
        "looking:status",
        "looking:tasks",
        "looking:routes",
        "looking:dead_letters",
        "people:questions",
        "run.fleet:workers_app",
        "costs:costs",
        "tasks.task_views:show",
        "tasks.task_views:explain",
        "tasks.task_views:logs",
    ),
    "Act": (
        "tasks.daily:add",
        "tasks.acting:create",
        "tasks.daily:edit",
        "tasks.acting:comment",
        "tasks.acting:move",
        "tasks.acting:dispatch",
        "tasks.acting:cancel",
        "tasks.acting:requeue",
        "people:answer",
        "people:approve",
        "people:reject",
        "tasks.acting:publish",
        "run.reloading:reload",
        "tasks.acting:pause",
        "tasks.acting:resume",
    ),
}
"""The commands by where they are, so that only the one that is given is imported."""

_OF_PARTS = "_app"
"""So ends the name of a function that puts a command of several parts together."""

_MISTAKES = (
    AmbiguousRouteError,
    ConfigurationError,
    InvalidTaskError,
    NotFoundError,
    PrefectUnavailableError,
)

REFUSED, MISTAKE, INTERRUPTED = 1, 2, 130


def make_app(word: str = "") -> App:
    """Put the commands together.

    Args:
        word: the command that is given; if it is one of ours, the others need not be imported.
    """
    places = [place for group in _GROUPS.values() for place in group]
    given = next((place for place in places if _word(place) == word), None)
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
    if given is None:
        app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
            help="Have the shell complete commands and options."
        )
    for number, (title, commands) in enumerate(_GROUPS.items()):
        group = Group(title, sort_key=number)
        for place, command in enumerate(commands):
            if given in (None, command):
                found = _function(command)
                if command.endswith(_OF_PARTS):
                    app.command(found(group, place))
                else:
                    app.command(found, group=group, sort_key=place)
        if title == "Run" and given is None:
            from athanore.cli.run.fleet import worker_app

            app.command(worker_app(group, len(commands)))
        if title == "Act" and given is None:
            from athanore.cli.copying import board
            from athanore.cli.keys import key_app
            from athanore.cli.notify import notify_app
            from athanore.cli.workspaces import workspaces_app

            app.command(board(group, len(commands)))
            app.command(key_app(group, len(commands) + 1))
            app.command(workspaces_app(group))
            app.command(notify_app(group))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 fine, 1 refused for now, 2 a mistake to mend, 130 interrupted.

    Args:
        arguments: the words after `athanore`; by default those of this process.
    """
    forget_empty_variables()
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        # What a terminal or a pipe with another encoding cannot show is written out.
        reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = make_app(words[0] if words else "")(words)
    except UnknownOptionError as exc:
        _fail(f"{exc} A text that begins with a dash stands after `--`.", MISTAKE)
    except CycloptsError as exc:
        _fail(str(exc), MISTAKE)
    except _MISTAKES as exc:
        _fail(str(exc), MISTAKE)
    except AthanoreError as exc:
        _fail(str(exc), REFUSED)
    except UnicodeEncodeError:
        if (wrong := next((w for w in words if not is_storable(w)), None)) is None:
            raise
        _fail(f"{wrong!r} is not valid UTF-8.", MISTAKE)
    except (ValueError, RuntimeError) as exc:
        from athanore.settings import explain_prefect

        if (says := explain_prefect(exc)) is None:
            raise
        _fail(says, MISTAKE)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough; nothing is left to say, not even at exit.
        sys.stderr.close()
        raise SystemExit(REFUSED) from None
    except OSError as exc:
        if exc.filename is None:
            raise
        _fail(f"{exc.filename}: {exc.strerror}.", MISTAKE)
    raise SystemExit(code if isinstance(code, int) else 0)


def _word(place: str) -> str:
    return place.partition(":")[2].removesuffix(_OF_PARTS).replace("_", "-").strip("-")


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    return getattr(import_module(f"athanore.cli.{module}"), name)


def _fail(text: str, code: int) -> NoReturn:
    sys.stderr.write(f"athanore: {shown(' '.join(text.split()))}\n")
    raise SystemExit(code) from None
