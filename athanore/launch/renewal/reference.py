"""How the script that runs is named by deployments: `run.py:dispatcher`."""

from __future__ import annotations

import sys
from pathlib import Path

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError


def script_reference(dispatcher: AgentDispatcher) -> str:
    """Find out how the running script names its dispatcher: `run.py:dispatcher`.

    Raises:
        ConfigurationError: the dispatcher is no global variable of the script.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is not None and file:
        for name, value in vars(main).items():
            if value is dispatcher:
                path = Path(file).resolve()
                here = Path.cwd()
                shown = path.relative_to(here) if path.is_relative_to(here) else path
                return f"{shown}:{name}"
    if (module := _imported_with(dispatcher)) is not None:
        raise ConfigurationError(
            f"{module} calls dispatcher.run() while it is imported; put the call under "
            '`if __name__ == "__main__":`.'
        )
    raise ConfigurationError(
        "dispatcher.run() needs the dispatcher as a global variable of the script that is run, "
        "so that Prefect can name it (run.py:dispatcher)."
    )


def _imported_with(dispatcher: AgentDispatcher) -> str | None:
    """The file's name of an imported module whose global variable the dispatcher is."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and any(value is dispatcher for value in list(vars(module).values())):
            return Path(file).name
    return None
