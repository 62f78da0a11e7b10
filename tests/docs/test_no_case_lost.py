"""No case is lost when tests are moved, joined or renamed: a table names what each became."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


def names_in(file: Path) -> set[str]:
    """The names of a file's tests, those in classes included."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return tomllib.loads((TESTS / "earlier_tests.toml").read_text(encoding="utf-8"))


def test_each_earlier_test_is_there_or_has_a_successor(table: dict[str, Any]) -> None:
    there = {p.relative_to(TESTS.parent).as_posix(): names_in(p) for p in TESTS.rglob("*.py")}
    names = set[str]().union(*there.values())
    lost = [name for name in table["kept"]["names"] if name not in names]
    for earlier, now in table["renamed"].items():
        file, _, name = now.partition("::")
        if name not in there.get(file, ()):
            lost.append(f"{earlier}, as {now}")
    assert not lost, "say in tests/earlier_tests.toml what became of: " + ", ".join(lost)


def test_what_is_renamed_or_dropped_is_not_there_as_well(table: dict[str, Any]) -> None:
    names = set[str]().union(*(names_in(p) for p in TESTS.rglob("*.py")))
    gone = [*table["renamed"], *table["dropped"]]
    assert [e for e in gone if e.partition("::")[2] in names] == []
    assert all(len(reason) > 20 for reason in table["dropped"].values())
