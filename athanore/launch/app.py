"""The app object that users make: the dispatcher, and how it is run."""

from __future__ import annotations

from athanore import dispatcher


class AgentDispatcher(dispatcher.AgentDispatcher):
    __doc__ = dispatcher.AgentDispatcher.__doc__

    def run(self, debug: bool = False) -> None:
        """Run everything in the foreground: Prefect if none runs, the worker, the task API.

        Returns after Ctrl-C or SIGTERM, when running agents have finished or were stopped. A
        mistake in the set-up ends the process with one line and exit code 2.

        Args:
            debug: log at DEBUG level.
        """
        from athanore.launch.foreground import run_app

        run_app(self, debug=debug)
