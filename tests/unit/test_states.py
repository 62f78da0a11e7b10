"""The names of states are in one place, and documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import prefect.states
import pytest

from athanore.runs.states import NOBODYS_WISH, PrefectState, StateName

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "formats.md"
HERE = ROOT / "athanore" / "runs" / "states.py"
NAMES = {*StateName, *PrefectState}

CONSTRUCTORS = {name for name in dir(prefect.states) if name[:1].isupper()}
# Names that are no words of a sentence: nobody writes them but as the name of a state.
PLAIN = re.compile("|".join(n for n in NAMES if " " not in n and re.search("[a-z][A-Z]", n)))


def literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """All strings of a module that are no docstrings."""
    docstrings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    parts = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if not (isinstance(part, ast.Constant) and PLAIN.search(str(part.value)))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings and node not in parts:
            yield node


def names_of_states(tree: ast.Module) -> Iterator[ast.Constant]:
    """The names of states that a module writes itself."""
    for node in literals(tree):
        if isinstance(node.value, str) and (node.value in NAMES or PLAIN.search(node.value)):
            yield node
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CONSTRUCTORS:
            for keyword in node.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    yield keyword.value


def test_no_name_of_a_state_is_written_elsewhere() -> None:
    written = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in sorted((ROOT / "athanore").rglob("*.py"))
        if path != HERE
        for node in names_of_states(ast.parse(path.read_text()))
    ]
    assert not written, "take it from athanore.runs.states"


@pytest.mark.parametrize(
    "line",
    [
        'Cancelled(name="Gone", message="x")',
        'if state.name == "HandedOver": pass',
        'pattern = "Finished in state (AwaitingRetry|Failed)"',
        'name = f"prefect.flow-run.AwaitingRetry/{x}"',
    ],
)
def test_a_name_is_seen_wherever_it_is_written(line: str) -> None:
    assert list(names_of_states(ast.parse(line)))


def table(heading: str) -> dict[str, tuple[str, ...]]:
    section = PAGE.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    return {name: tuple(cell.strip() for cell in rest.split("|")) for name, rest in rows}


@pytest.mark.parametrize(
    ("heading", "enum"), [("Our states", StateName), ("Prefect's states", PrefectState)]
)
def test_the_page_says_who_sets_a_state_and_what_is_made_of_it(
    heading: str, enum: type[StateName] | type[PrefectState]
) -> None:
    rows = table(heading)
    assert list(rows) == [name.value for name in enum]
    assert all(len(cells) == 3 and all(cells) for cells in rows.values())


def test_prefect_has_the_names_that_are_called_its() -> None:
    made = {getattr(prefect.states, n)().name for n in ("Completed", "Failed", "Crashed")}
    made |= {getattr(prefect.states, n)().name for n in ("Scheduled", "Pending", "Running")}
    made |= {getattr(prefect.states, n)().name for n in ("Cancelled", "Cancelling", "Late")}
    made |= {getattr(prefect.states, n)().name for n in ("AwaitingRetry", "Suspended", "Paused")}
    made.add(prefect.states.AwaitingConcurrencySlot().name)
    assert made == set(PrefectState) - {PrefectState.TIMED_OUT, PrefectState.RESUMING}


def test_who_gives_up_a_run_that_waits_says_so_by_a_name_of_ours() -> None:
    assert set(StateName) > NOBODYS_WISH
