"""`python -m chaos`: run the suite and print what it found, with the seed to repeat it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from chaos import play
from chaos.site import Site, new_seed
from chaos.storm import Storm
from chaos.verdict import Verdict
from tests import postgres

_OUTAGES = (90.0, 180.0)
_OUTAGE_TASKS = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, print; the exit code is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", default="", help="repeat this one")
    parser.add_argument("--tasks", type=int, default=200, help="shared by the databases")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--gap", type=float, default=12, help="agents between two disturbances")
    parser.add_argument("--storm", type=float, default=300.0, help="seconds that it lasts at most")
    parser.add_argument("--no-storms", action="store_true", help="only the long outages")
    parser.add_argument("--no-outages", action="store_true", help="leave out the long outages")
    options = parser.parse_args(argv)
    seed = options.seed or new_seed()
    databases = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    folder = Path(tempfile.mkdtemp(prefix="athanore-chaos-"))
    play.say(f"Seed {seed}; logs and records are in {folder}.")
    # The outages are mostly waiting, so they go on beside the storms.
    with ThreadPoolExecutor() as pool:
        outages = [
            pool.submit(_outage, folder, seed, seconds)
            for seconds in (() if options.no_outages else _OUTAGES)
        ]
        verdicts = [
            _storm(
                folder, seed, database, options.tasks // len(databases), options.gap, options.storm
            )
            for database in (() if options.no_storms else databases)
        ]
        verdicts += [outage.result() for outage in outages]
    broken = sum(len(v.violations) for v in verdicts)
    if not broken:
        shutil.rmtree(folder)
    play.say(f"Seed {seed}: " + (f"{broken} VIOLATIONS" if broken else "every promise was kept."))
    return int(broken > 0)


def _storm(
    folder: Path, seed: str, database: str, tasks: int, gap: float, longest: float
) -> Verdict:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database()) if database == "postgres" else None
        site = stack.enter_context(closing(Site(folder / database, seed, tasks, url)))
        hosts = "two hosts" if site.two_hosts else "one host (no right to make another)"
        title = f"storm, {database}, {tasks} tasks, {hosts}"
        play.say(f"--- {title}")
        weather = Storm(site, seed, gap)
        verdict = play.storm(site, weather, longest)
        play.report(title, weather, verdict)
    return verdict


def _outage(folder: Path, seed: str, seconds: float) -> Verdict:
    name = f"outage-{seconds:g}"
    with closing(Site(folder / name, seed, _OUTAGE_TASKS, lost_after=600, work=15)) as site:
        weather = Storm(site, seed)
        verdict = play.outage(site, weather, seconds)
        play.report(f"Prefect away for {seconds:g} s, sqlite", weather, verdict)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
