"""A mutation: a small diff that breaks one mend again, and the tests that have to notice it.

The form of a file: lines `Fault: what is broken by it`, and `Test: path::name` (one or more), then
what `git diff` prints. The file is called after the fault, such as `D28.diff`. It counts as noticed
if one of these tests fails. Lines `Also: path::name` name tests that have to notice it as well,
by themselves: where a rule has tests on the store in memory and on Prefect's, a diff names one of
each, so that neither store can hide what the other shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.prefect_servers import PORT_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

_APPLY = ("git", "apply", "-C1")
"""One line of context has to fit, so that a change nearby does not spoil a diff."""

_TESTS_FAILED = 1
"""The exit code of pytest for tests that ran and failed, and for nothing else."""

_SECONDS = 900
"""How long the tests of one mutation may take."""

_OF_SERVERS = (
    "athanore/launch/",
    "athanore/processes/",
    "athanore/http_client/",
    "athanore/runs/states.py",
    "athanore/names.py",
)
"""Parts of the Prefect server that `athanore up` starts: a mutation there needs one of its own."""


@dataclass(frozen=True)
class Mutation:
    """What one file says; `diff` is None for the run without a mutation.

    Attributes:
        tests: one of them has to notice it.
        also: each of these has to notice it, too.
    """

    name: str
    fault: str
    tests: tuple[str, ...]
    diff: Path | None
    also: tuple[str, ...] = ()

    @property
    def of_servers(self) -> bool:
        """Tell whether a Prefect server that was started without it may hide it."""
        text = "" if self.diff is None else self.diff.read_text(encoding="utf-8")
        return any(f"+++ b/{part}" in text for part in _OF_SERVERS)

    @property
    def all_tests(self) -> tuple[str, ...]:
        """All tests that it names."""
        return (*self.tests, *self.also)


@dataclass(frozen=True)
class Verdict:
    """What the tests made of a mutation."""

    exit_code: int
    output: str

    @property
    def noticed(self) -> bool:
        """Tell whether a test failed. A diff that does not apply, or no test, is no failure."""
        return self.exit_code == _TESTS_FAILED


def all_mutations() -> Iterator[Mutation]:
    """Read every mutation beside this file, by name."""
    for path in sorted(HERE.glob("*.diff")):
        yield read(path)


def read(path: Path) -> Mutation:
    """Read one file.

    Raises:
        ValueError: the file names no fault or no test.
    """
    head = path.read_text(encoding="utf-8").partition("diff --git")[0]
    lines = [line.partition(": ") for line in head.splitlines()]
    faults = [text for word, _, text in lines if word == "Fault"]
    tests = tuple(text.strip() for word, _, text in lines if word == "Test")
    also = tuple(text.strip() for word, _, text in lines if word == "Also")
    if len(faults) != 1 or not tests:
        raise ValueError(f"{path.name} needs one line 'Fault: ...' and at least one 'Test: ...'")
    return Mutation(path.stem, faults[0], tests, path, also)


def applies(mutation: Mutation) -> str:
    """Check that the diff fits the tree as it is now; return what git says against it, or ''."""
    command = [*_APPLY, "--check", str(mutation.diff)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def try_out(mutation: Mutation, folder: Path, servers: int | None = None) -> Verdict:
    """Run the mutation's tests on a copy of the tree that has the mutation, below `folder`.

    Args:
        servers: the port at which to ask for Prefect servers, which are those of this tree; without
            one the tests start their own.
    """
    copy = folder / mutation.name
    if mutation.of_servers:
        servers = None
    _copy_tree(copy)
    try:
        if mutation.diff:
            command = [*_APPLY, str(mutation.diff)]
            done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
            if done.returncode:
                return Verdict(-1, f"{mutation.diff.name} does not apply:\n{done.stderr}")
        if not mutation.diff:
            return _run(copy, servers, mutation.tests, "-n", "4", "--dist=loadfile")
        verdict = Verdict(_TESTS_FAILED, "")
        for tests in (mutation.tests, *((test,) for test in mutation.also)):
            verdict = _run(copy, servers, tests, "-x")  # the first failure is enough
            if not verdict.noticed:
                return Verdict(verdict.exit_code, f"{' '.join(tests)}:\n{verdict.output}")
        return verdict
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _run(copy: Path, servers: int | None, tests: Sequence[str], *options: str) -> Verdict:
    """Run tests on a copy of the tree."""
    # That plugin imports much, and the tests that need it use the library instead.
    without = ("-p", "no:cacheprovider", "-p", "no:schemathesis")
    command = [sys.executable, "-m", "pytest", "-q", *without, *options, *tests]
    # Programs that the tests start import the copy, too.
    env = os.environ | {"PYTHONPATH": str(copy)}
    if servers:
        env[PORT_VARIABLE] = str(servers)
    try:
        done = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Verdict(-1, f"{' '.join(tests)} took more than {_SECONDS} s")
    return Verdict(done.returncode, done.stdout[-3000:] + done.stderr[-1000:])


def _copy_tree(target: Path) -> None:
    """Copy what git tracks or would track; git finds no repository there, and applies anywhere.

    What Python has compiled goes with it, which saves most of the time of a small test. A mutation
    changes the time of the files that it touches, so that these are compiled again.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    for part in ("athanore", "tests"):
        for compiled in (ROOT / part).rglob("__pycache__"):
            place = target / compiled.relative_to(ROOT)
            if place.parent.is_dir():
                shutil.copytree(compiled, place)
