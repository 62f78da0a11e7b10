"""The command that has a running app take its changed code over."""

from __future__ import annotations

from athanore.cli.at_work import at_work
from athanore.cli.context import AppArgument, app_name
from athanore.cli.output import say
from athanore.errors import ConfigurationError, DispatchError
from athanore.launch.serving import find_serving


def reload(app: AppArgument = None, /) -> None:
    """Have the app that runs here take its changed code over, without stopping agents.

    It needs the operators' key (ATHANORE_API_KEY); an app whose task API asks for no tokens takes
    its code over by the key r in its terminal only.
    """
    name = app_name(app)
    here = at_work(find_serving(name, changed_too=True))
    if here is None:
        raise ConfigurationError(
            f"{name} does not run on this machine, or it needs the operators' key "
            "(ATHANORE_API_KEY)."
        )
    status, answer = here.refused("/reload")
    if status != 200:
        raise DispatchError(str(answer.get("detail") or "The app does not answer."))
    say(f"Taken over as version {answer['version']}.")
    for line in answer["changes"]:
        say(f"  {line}")
    if not answer["changes"]:
        say("  Nothing is different.")
