"""The two gates: what is begun first, what may be repeated, and what is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gates import LONGEST_FIRST, SLOW, may_be_repeated, tally
from tests.mutations.mutation import ROOT

TESTS = """\
import pytest


@pytest.mark.nightly
def test_at_night():
    pass


@pytest.mark.smoke
@pytest.mark.parametrize("number", range(4))
def test_in_the_gate(number):
    pass


@pytest.mark.flaky(reruns=1)
def test_fails_once(tmp_path_factory):
    seen = tmp_path_factory.getbasetemp().parent / "seen"
    if not seen.exists():
        seen.touch()
        pytest.fail("the first time")
"""


def test_the_files_that_are_begun_first_or_left_out_of_a_check_exist() -> None:
    named = (*LONGEST_FIRST, *SLOW)
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_tests_are_counted_by_mark() -> None:
    tests: list[set[str]] = [{"nightly", "postgres"}, {"postgres"}, {"smoke"}, set()]
    assert tally(tests) == "Tests by mark: gate 3, nightly 1, postgres 2, smoke 1, slow 0."


def test_what_needs_no_luck_is_not_repeated() -> None:
    paths = ("unit/test_a.py", "contract/sub/test_a.py", "api/test_a.py", "integration/test_a.py")
    assert [may_be_repeated(path) for path in paths] == [False, False, False, True]


@pytest.mark.nightly
def test_a_run_counts_each_test_once_in_all_processes(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    plugin = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *plugin, "-n", "2", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Tests by mark: gate 5, nightly 1, postgres 0, smoke 4, slow 0." in done.stdout, (
        done.stdout
    )
    assert done.returncode == 0
