"""The script in which a dispatcher is made: where it is, and how its mistakes are told.

Those but `code_file` are for `AgentDispatcher.__init__`: they look at who has called that.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from athanore.errors import ConfigurationError
from athanore.texts import shown


def _module_of_caller() -> dict[str, Any]:
    """The globals of the module in which a dispatcher is made; for functions of `__init__`."""
    frame = inspect.currentframe()
    frame = frame.f_back.f_back if frame and frame.f_back else None
    while frame is not None and frame.f_code.co_name == "__init__":  # and of subclasses
        frame = frame.f_back
    return frame.f_globals if frame else {}


def folder_of_caller() -> Path:
    """The folder of the file in which a dispatcher is made; without a file (a console) this one."""
    file = _module_of_caller().get("__file__")
    return Path(file).resolve().parent if file else Path.cwd()


def code_file(reference: str) -> Path:
    """The file with the code of an app, as `run.py:dispatcher` or `package.module:dispatcher`."""
    location = reference.partition(":")[0]
    if not location.endswith(".py"):
        found = importlib.util.find_spec(location)
        location = (found.origin if found else None) or location
    return Path(location).resolve()


def tell_mistakes_in_one_line() -> None:
    """Have a mistake that ends this script told as commands tell it, with exit code 2.

    The script makes its dispatcher before it calls `run()`, which tells mistakes so. Ctrl-C before
    the app is up ends it with 130, and without a word.
    """
    module = _module_of_caller()
    is_script = module.get("__name__") == "__main__" and "__file__" in module
    if is_script and sys.excepthook is sys.__excepthook__:
        sys.excepthook = _end


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        raise SystemExit(130)
    if not isinstance(error, ConfigurationError):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"athanore: {shown(' '.join(str(error).split()))}\n")
    raise SystemExit(2)
