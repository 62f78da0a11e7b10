"""`python -m tests.mutations`: show that the suite notices a mended fault, should it return.

Every `*.diff` beside this file breaks one mend again. The tree is copied, the diff applied to the
copy, and the tests that the diff names are run there: they must fail, those of `Also:` each by
itself. The form of a diff is described in `mutation.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.mutations.mutation import ROOT, Mutation, Verdict, all_mutations, try_out
from tests.prefect_servers import OwnServers, share


def main(argv: Sequence[str] | None = None) -> int:
    """Try every mutation that was asked for, and print a line for each.

    Returns:
        0 if the tests noticed all of them, else 1.
    """
    parser = argparse.ArgumentParser(prog="mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="some of them, such as D28; all without one")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), help="2/3: the second third of them, for one night"
    )
    # One more than processors: a test often waits for what it has started.
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1)
    parser.add_argument("--no-control", action="store_true", help="skip the run without mutations")
    options = parser.parse_args(argv)
    known = {m.name: m for m in all_mutations()}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    part, parts = options.part
    chosen = [known[name] for name in options.names] or list(known.values())[part - 1 :: parts]

    def tell(mutation: Mutation) -> Verdict:
        return _tell(mutation, Path(folder), port)

    with (
        tempfile.TemporaryDirectory(prefix="athanore-mutations-") as folder,
        ExitStack() as stack,
        share(OwnServers(Path(folder) / "prefect", stack)) as port,
    ):
        if not options.no_control and not _control(chosen, Path(folder), port):
            return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = list(pool.map(tell, chosen))
    noticed = sum(v.noticed for v in verdicts)
    _say(f"{noticed} passed, {len(verdicts) - noticed} failed")
    return int(noticed < len(verdicts))


def _part(text: str) -> tuple[int, int]:
    """Read "2/3"."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 0 < int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part of a whole; write it as 2/3")
    return int(found[1]), int(found[2])


def _control(chosen: Sequence[Mutation], folder: Path, port: int) -> bool:
    """Tell whether all tests that are named pass without any mutation: else nothing is shown."""
    tests = sorted({test for mutation in chosen for test in mutation.all_tests})
    verdict = try_out(Mutation("control", "", tuple(tests), None), folder, port)
    passed = verdict.exit_code == 0
    _say(f"{'ok' if passed else 'FAILED':8} {len(tests)} tests without a mutation")
    if not passed:
        _say(verdict.output)
    return passed


def _tell(mutation: Mutation, folder: Path, port: int) -> Verdict:
    verdict = try_out(mutation, folder, port)
    _say(f"{'noticed' if verdict.noticed else 'MISSED':8} {mutation.name:14} {mutation.fault}")
    if not verdict.noticed:
        _say(verdict.output)
    return verdict


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
