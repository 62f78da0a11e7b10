"""`make bench`: what Athanore costs, measured on real parts, in one table.

make bench ARGS="--only dispatch,idle"          some rows
make bench ARGS="--only fleet"                    1,000 agents over ten workers, and lines to there
make bench ARGS="--json figures.json"             the numbers as well
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import (
    agents,
    board,
    commands,
    crowd,
    dispatching,
    fleet,
    growth,
    idle,
    issues,
    starting,
    stays,
    task_api,
    told,
)
from bench.rig import TINY, Rig, Sizes
from bench.table import Row, save, show

MEASURES: dict[str, Callable[[Rig], Iterator[Row]]] = {
    "dispatch": dispatching.throughput,
    "memory": agents.memory,
    "latency": agents.latency,
    "edit": agents.behind_our_back,
    "database": told.database,
    "webhook": partial(told.webhook, "linear"),
    "idle": idle.idle,
    "many": idle.many,
    "kept": stays.kept,
    "late": idle.late,
    "board": board.board,
    "start": starting.start,
    "cli": commands.commands,
    "api": task_api.requests,
    "events": task_api.events,
    "crowd": crowd.crowd,
}
EXTRA: dict[str, Callable[[Rig], Iterator[Row]]] = {
    "growth": growth.growth,
    "fleet": fleet.fleet,
    "hour": stays.hour,
    "thousand": agents.a_thousand,
    "issues": issues.issues,
    "requests": dispatching.requests,  # part of `dispatch`, too
    **{f"webhook-{kind}": partial(told.webhook, kind) for kind in told.TRACKERS},
}


def main() -> int:
    """Measure, print, and return 1 if an aim was missed or a part failed."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "ATHANORE_")) and not name.startswith("ATHANORE_TEST_"):
            del os.environ[name]
    chosen = {**MEASURES, **EXTRA}
    wanted: list[str] = options.only or list(MEASURES)
    folder = Path(tempfile.mkdtemp(prefix="athanore-bench-"))
    rows: list[Row] = []
    failed: list[str] = []
    began, key = time.monotonic(), wanted[0]

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s  {text}[/]")

    say(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {', '.join(wanted)}")
    try:
        with ExitStack() as stack:
            sizes = TINY if options.tiny else Sizes()
            if options.fleet:
                sizes = replace(sizes, fleet=tuple(options.fleet))
            rig = Rig(stack, folder, sizes, options.prefect, say)
            for key in wanted:
                say(key)
                try:
                    rows += chosen[key](rig)
                except Exception as error:
                    failed.append(key)
                    console.print(f"[red]{key} failed:[/] {type(error).__name__}: {error}")
                    if options.debug:
                        raise
    except KeyboardInterrupt:
        console.print("Stopped, with everything that was started.")
        failed += wanted[wanted.index(key) :]
    finally:
        if options.keep:
            say(f"everything's output is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    show(console, rows)
    say(f"load at the end {os.getloadavg()[0]:.1f}")
    if options.json:
        save(options.json, rows, time.monotonic() - began)
    if failed:
        console.print(f"[red]Not measured: {', '.join(failed)}[/]")
    return int(bool(failed) or any(r.met is False for r in rows))


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in MEASURES and name not in EXTRA:
            known = ", ".join([*MEASURES, *EXTRA])
            raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {known})")
    return names


def _agents_and_workers(text: str) -> tuple[int, int]:
    agents, _, workers = text.partition("x")
    return int(agents), int(workers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", action="extend", type=_parts, metavar="PART,...",
        help=f"some of {', '.join(MEASURES)}; and what is no part of the table: "
        f"{', '.join(EXTRA)}; may be repeated",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the bench itself")
    parser.add_argument(
        "--fleet", action="append", type=_agents_and_workers, metavar="AGENTSxWORKERS",
        help="other sizes for --only fleet, from small to large; two at least",
    )  # fmt: skip
    parser.add_argument("--prefect", help="API of a server to use, instead of one on PostgreSQL")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all output")
    parser.add_argument("--debug", action="store_true", help="stop at the first failure")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
