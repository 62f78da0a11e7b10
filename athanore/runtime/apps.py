"""An app at work in a process, and the way from its reference to its code."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.routing.scripts import code_file
from athanore.runs.capacity.limits import Limits
from athanore.runs.capacity.slots import Slots
from athanore.runs.connection.clock import Clock
from athanore.runs.dispatching import Dispatching
from athanore.runs.events.announcer import Announcer
from athanore.runs.spending import Ledger
from athanore.runtime.boards.board import Board
from athanore.runtime.boards.board_view import BoardView
from athanore.runtime.boards.whole_polls import WholePolls
from athanore.runtime.breaker import Breaker
from athanore.runtime.leases.liveness import Liveness
from athanore.runtime.leases.local_runs import LocalRuns
from athanore.runtime.margins import Margins
from athanore.runtime.noted import Noted
from athanore.runtime.routes.route_registry import Registry
from athanore.runtime.secrets.redaction import RedactedLogs, Redactor
from athanore.runtime.versions import app_version

APP_VARIABLE = "ATHANORE_APP"
"""Names the app that a process serves; several are separated by commas."""

_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class App:
    """A dispatcher at work in this process, and all that the process keeps while it is.

    Whoever needs it is given it; flows find it in `athanore.runtime.registry`.

    Args:
        reference: where its code is, as `run.py:dispatcher`.
        api_url: where agents reach the task API; by default what the settings say.
        margins: how long things may take before they count as gone wrong.
        clock: the time of day at Prefect; by default our own, until Prefect has answered.

    Attributes:
        dispatching: creates the runs of its tasks.
        local_runs: its runs that this process works on.
        breaker: the failures of its routes in a row.
        slots: which of its runs here may start an agent.
        limits: which of them wait for their provider.
        ledger: what its agents have used.
        liveness: the heartbeats of its workers, as they were seen here.
        noted: what its polls here remember.
        whole_polls: which of its routes have just been looked at here, and had no work.
        reload: takes its changed code over and says what that changes; None where nobody can.
    """

    def __init__(
        self,
        reference: str,
        dispatcher: AgentDispatcher,
        api_url: str = "",
        *,
        margins: Margins | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.reference = reference
        self.dispatcher = dispatcher
        self.margins = margins or Margins()
        self.clock = clock or Clock()
        self.dispatching = Dispatching(dispatcher.name, self.clock)
        self.board = Board(dispatcher.board)
        self.view = BoardView(self.board, set(dispatcher.queue_names()))
        self.routes = Registry(dispatcher)
        self.announcer = Announcer(dispatcher.name)
        self.redactor = Redactor.of(dispatcher)
        self._logs = RedactedLogs(self.redactor)
        self.local_runs = LocalRuns()
        self.breaker = Breaker()
        self.slots = Slots()
        self.limits = Limits(self.clock)
        self.ledger = Ledger(dispatcher.name, self.clock)
        self.noted = Noted()
        self.whole_polls = WholePolls()
        self.reload: Callable[[], Awaitable[list[str]]] | None = None
        settings = dispatcher.settings
        self.liveness = Liveness(settings.lost_after)
        self.api_url = api_url or settings.agent_api_url(settings.api_host, settings.api_port)

    def watch_logs(self, on: bool) -> None:
        """Keep the app's secrets out of the logs of runs, or no longer."""
        for name in _RUN_LOGGERS:
            logger = logging.getLogger(name)
            if on:
                logger.addFilter(self._logs)
            else:
                logger.removeFilter(self._logs)

    @property
    def name(self) -> str:
        """The dispatcher's name, which namespaces everything in Prefect."""
        return self.dispatcher.name

    @property
    def file(self) -> Path:
        """The file that its code is in."""
        return code_file(self.reference)

    @property
    def folder(self) -> Path:
        """Where its code is: the home of an app that has no name of its own."""
        return self.file.parent

    @cached_property
    def version(self) -> str:
        """The version of the app that this process has; see `app_version`."""
        return app_version(self.dispatcher)

    def code_changed(self) -> None:
        """Note that the dispatcher has taken over newer code."""
        self.__dict__.pop("version", None)
        self.redactor.learn(Redactor.of(self.dispatcher))
        self.routes.forget()


def served_here() -> list[str]:
    """The references of the apps that this process was started for, by ATHANORE_APP."""
    return [r.strip() for r in os.environ.get(APP_VARIABLE, "").split(",") if r.strip()]


def load(reference: str) -> AgentDispatcher:
    """Import `run.py:dispatcher` or `package.module:dispatcher`.

    Raises:
        ConfigurationError: there is no such file, module or dispatcher; the message says which.
    """
    location, _, attribute = reference.partition(":")
    if not location or not attribute:
        raise ConfigurationError(
            f"{reference!r} does not name an app; write it as run.py:dispatcher "
            "or package.module:dispatcher."
        )
    module = _import(location, reference)
    value = getattr(module, attribute, None)
    if isinstance(value, AgentDispatcher):
        return value
    found = [k for k, v in vars(module).items() if isinstance(v, AgentDispatcher)]
    hint = f"It has {', '.join(f'{location}:{n}' for n in found)}." if found else "It has none."
    raise ConfigurationError(f"{location} has no AgentDispatcher called {attribute!r}. {hint}")


def _import(location: str, reference: str) -> ModuleType:
    _search_in(os.getcwd())
    if not location.endswith(".py"):
        try:
            return importlib.import_module(location)
        except ModuleNotFoundError as exc:
            if exc.name and location.startswith(exc.name):
                raise ConfigurationError(f"There is no module {exc.name!r} ({reference}).") from exc
            raise
    path = Path(location).resolve()
    if not path.is_file():
        raise ConfigurationError(f"There is no file {str(path)!r} ({reference}).")
    _search_in(str(path.parent))
    # A name of its own: a user's queue.py must not take the place of the standard library's.
    name = f"athanore_app_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{str(path)!r} cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _search_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
