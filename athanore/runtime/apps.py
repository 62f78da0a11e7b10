"""From a flow run to the user's `AgentDispatcher`.

A run is its app's by the app's name, which its tags have. Where the app's code is (the parameter
`app`) only tells a process that has not loaded the app yet what to import: the file may have been
renamed since, and may lie elsewhere on another host.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import ModuleType

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.runtime.board import Board
from athanore.runtime.redaction import RedactedLogs, Redactor
from athanore.runtime.route_registry import Registry
from athanore.runtime.versions import app_version

APP_VARIABLE = "ATHANORE_APP"
"""Names the app that a process serves; several are separated by commas."""

_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class App:
    """A dispatcher at work in this process.

    Args:
        reference: where its code is, as `run.py:dispatcher`.
    """

    def __init__(self, reference: str, dispatcher: AgentDispatcher, api_url: str = "") -> None:
        self.reference = reference
        self.dispatcher = dispatcher
        self.board = Board(dispatcher.board)
        self.routes = Registry(dispatcher)
        self.redactor = Redactor.of(dispatcher)
        self._logs = RedactedLogs(self.redactor)
        settings = dispatcher.settings
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
    def folder(self) -> Path:
        """Where its code is: the home of an app that has no name of its own."""
        location = self.reference.partition(":")[0]
        if not location.endswith(".py"):
            found = importlib.util.find_spec(location)
            location = (found.origin if found else None) or location
        return Path(location).resolve().parent

    @cached_property
    def version(self) -> str:
        """The version of the app that this process has; see `app_version`."""
        return app_version(self.dispatcher)


_apps: list[App] = []


def register(app: App) -> None:
    """Make an app known to the flows of this process; of one name, the first stays in use."""
    _apps.append(app)
    app.watch_logs(True)


def unregister(app: App) -> None:
    """Forget an app again."""
    if app in _apps:
        _apps.remove(app)
    app.watch_logs(False)


def _named(name: str) -> App | None:
    return next((a for a in _apps if a.name == name), None)


def serving(tags: Iterable[str], reference: str) -> App | None:
    """Return the app of this process that a run with these tags is of, if there is one.

    Args:
        reference: what the run has as its `app`; it counts for a run without an app's tag only.
    """
    name = names.app_of(tags)
    if name is not None:
        return _named(name)
    return next((a for a in _apps if a.reference == reference), None)


def of_run(tags: Iterable[str], reference: str) -> App:
    """Return the app of a run: one of this process, or else (in a stock worker) import it.

    Raises:
        ConfigurationError: it is not one that this process serves, or cannot be imported.
    """
    tags = list(tags)
    if app := serving(tags, reference):
        return app
    name = names.app_of(tags)
    if name is None:
        return find(reference)
    # Not by the run's reference: the file may have another name by now.
    found = [find(r) for r in served_here()]
    for app in found:
        if app.name == name:
            return app
    served = ", ".join(repr(a.name) for a in found) or "no app"
    raise ConfigurationError(
        f"This process serves {served} (ATHANORE_APP), not the app {name!r}. "
        "Deploy again: `athanore deploy` has the work pool set ATHANORE_APP."
    )


def find(reference: str) -> App:
    """Import an app and make it known; one of this process that has the name is it already.

    An app is code, and whoever reaches Prefect can write a run's parameters: so only what the
    process was started for (ATHANORE_APP) is imported.

    Raises:
        ConfigurationError: it is not one that this process serves, or cannot be imported.
    """
    if reference not in (served := served_here()):
        raise ConfigurationError(
            f"This process serves {', '.join(served) or 'no app'} (ATHANORE_APP), not the app "
            f"{reference!r}. Deploy again: `athanore deploy` has the work pool set ATHANORE_APP."
        )
    app = App(reference, load(reference))
    if known := _named(app.name):
        return known
    register(app)
    return app


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


def all_registered() -> list[App]:
    """Return the apps of this process."""
    return list(_apps)
