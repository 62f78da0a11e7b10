"""`athanore demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    folder: Annotated[
        Path, Parameter(name="FOLDER", help="Where its files go; made if it is not there.")
    ] = Path("athanore-demo"),
    /,
    *,
    keep: Annotated[
        bool, Parameter(name="--keep", negative="", help="Go on at the end, until Ctrl-C.")
    ] = False,
) -> int:
    """Watch three tasks go through a pipeline of two stages, with agents that only pretend.

    Everything else is real: a Prefect server, its database, the board page, a failure and its
    retry. All of it ends by itself, and what it wrote is in FOLDER.
    """
    from athanore.launch.demo.show import run_demo

    return run_demo(folder, keep=keep)
