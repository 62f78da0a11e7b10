"""Each fault that was reported is mended, with a test that exists, or answered."""

from __future__ import annotations

import tomllib
from itertools import chain
from typing import Any

import pytest

from tests.docs.test_no_case_lost import TESTS, names_in

ROWS = {
    "bug": [*map(str, range(2, 23)), "1", "1b", "1c", "17b", "24", "25", *map(str, range(27, 38)),
            "39", "40"],
    "reserve": ["R1", "R3", "R4", "R5", "R6", "R10", "R11"],
    "seen": [*map(str, range(1, 8))],
    "security": ["H1", "H2", "H3", "H4", "H5", *(f"M{n}" for n in range(1, 8)),
                 *(f"L{n}" for n in range(1, 13) if n != 2)],
    "newcomer": [*map(str, range(1, 41))],
    "planka": ["C1", "C2", "C3", "H1", "H2", "H3", "M1", "M2", "M3",
               *(f"L{n}" for n in range(1, 13))],
    "defect": [f"D{n}" for n in range(1, 29)],
}  # fmt: skip
"""The rows of each report, as they are numbered there."""


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return tomllib.loads((TESTS / "faults.toml").read_text(encoding="utf-8"))


def test_each_row_is_mended_or_answered(table: dict[str, Any]) -> None:
    rows = sorted(f"{report} {number}" for report, numbers in ROWS.items() for number in numbers)
    assert sorted([*table["mended"], *table["answered"]]) == rows
    assert all(len(tests) > 0 for tests in table["mended"].values())


def test_each_test_that_is_named_exists(table: dict[str, Any]) -> None:
    lost: list[str] = []
    for test in chain(*table["mended"].values(), *table["kinds"].values()):
        file, *classes = test.split("::")
        path = TESTS.parent / file
        if not path.is_file() or (classes and classes[-1] not in names_in(path)):
            lost.append(test)
    assert not lost, "say in tests/faults.toml what became of: " + ", ".join(lost)
