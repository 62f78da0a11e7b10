"""Which apps are at work in this process: how a flow finds its own.

A run is its app's by the app's name, which its tags have. Where the app's code is (the parameter
`app`) only tells a process that has not loaded the app yet what to import: the file may have been
renamed since, and may lie elsewhere on another host.

This is the only state of a process that is not in an object of its app's: Prefect calls a flow with
the parameters of its run, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from athanore import names
from athanore.errors import ConfigurationError
from athanore.runtime.apps import App, load, served_here


class AppRegistry:
    """The apps of a process; of one name, the first stays in use."""

    def __init__(self) -> None:
        self._apps: list[App] = []

    def register(self, app: App) -> None:
        """Make an app known to the flows of this process."""
        self._apps.append(app)
        app.watch_logs(True)

    def unregister(self, app: App) -> None:
        """Forget an app again."""
        if app in self._apps:
            self._apps.remove(app)
        app.watch_logs(False)

    def all(self) -> list[App]:
        """Return the apps of this process."""
        return list(self._apps)

    def serving(self, tags: Iterable[str], reference: str) -> App | None:
        """Return the app of this process that a run with these tags is of, if there is one.

        Args:
            reference: what the run has as its `app`; it counts for a run without an app's tag only.
        """
        return app_of_run(self._apps, tags, reference)

    def of_run(self, tags: Iterable[str], reference: str) -> App:
        """Return the app of a run: one of this process, or else (in a stock worker) import it.

        Raises:
            ConfigurationError: it is not one that this process serves, or cannot be imported.
        """
        tags = list(tags)
        if app := self.serving(tags, reference):
            return app
        name = names.app_of(tags)
        if name is None:
            return self.find(reference)
        # Not by the run's reference: the file may have another name by now.
        found = [self.find(r) for r in served_here()]
        for app in found:
            if app.name == name:
                return app
        served = ", ".join(repr(a.name) for a in found) or "no app"
        raise ConfigurationError(
            f"This process serves {served} (ATHANORE_APP), not the app {name!r}. "
            "Deploy again: `athanore deploy` has the work pool set ATHANORE_APP."
        )

    def find(self, reference: str) -> App:
        """Import an app and make it known; one of this process that has the name is it already.

        An app is code, and whoever reaches Prefect can write a run's parameters: so only what the
        process was started for (ATHANORE_APP) is imported.

        Raises:
            ConfigurationError: it is not one that this process serves, or cannot be imported.
        """
        if reference not in (served := served_here()):
            raise ConfigurationError(
                f"This process serves {', '.join(served) or 'no app'} (ATHANORE_APP), not the app "
                f"{reference!r}. Deploy again: `athanore deploy` has the work pool set "
                "ATHANORE_APP."
            )
        app = App(reference, load(reference))
        if known := next((a for a in self._apps if a.name == app.name), None):
            return known
        self.register(app)
        return app


def app_of_run(apps: Iterable[App], tags: Iterable[str], reference: str) -> App | None:
    """Return the one of some apps that a run with these tags is of; see `AppRegistry.serving`."""
    name = names.app_of(tags)
    if name is not None:
        return next((a for a in apps if a.name == name), None)
    return next((a for a in apps if a.reference == reference), None)


registry = AppRegistry()
"""The apps of this process."""
