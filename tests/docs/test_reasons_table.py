"""docs/watching.md has a row for each reason for which a task waits, in the words of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = (
    "athanore/services/status/reasons.py",
    "athanore/services/status/machinery.py",
    "athanore/services/status/unpolled.py",
    "athanore/services/holds.py",
    "athanore/runs/capacity/label_caps.py",
    "athanore/runs/capacity/limits.py",
    "athanore/errors.py",
)
SAYS = {
    "athanore/services/status/reasons.py": {
        "of_task", "_waits", "_asks", "_open_question", "_line", "_will_be_seen", "_paused",
        "nobody_takes", "_refusal",
    },
    "athanore/services/status/machinery.py": {"_unserved"},
    "athanore/services/status/unpolled.py": {"_stuck", "_why"},
    "athanore/services/holds.py": {"of"},
    "athanore/runs/capacity/label_caps.py": {"full"},
}  # fmt: skip
"""The functions whose sentences are reasons."""


def _rows() -> str:
    page = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
    chapter = page.partition("## Why a task waits")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^\| `.*\|$", chapter, re.MULTILINE))


def _words(code: ast.AST) -> Iterator[str]:
    """The texts of some code without its docstrings, whatever stands between them cut out."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(code)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_each_reason_of_the_code_is_in_the_table() -> None:
    rows, lost, seen = _rows(), list[str](), set[str]()
    for path, functions in SAYS.items():
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name in functions:
                seen.add(node.name)
                texts = (text.strip(" .;:'(),") for text in _words(node))
                says = (t for t in texts if not t.startswith(("athanore ", "prefect ")))
                lost += [t for t in says if t.count(" ") > 1 and t not in rows]
    assert seen == set[str]().union(*SAYS.values())
    assert not lost, f"docs/watching.md, Why a task waits, has no row with: {lost}"


def test_each_row_has_the_words_of_the_code() -> None:
    known = "\n".join(
        text
        for path in SOURCES
        for text in _words(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    )
    rows = _rows().splitlines()
    assert len(rows) > 10
    for row in rows:
        said = re.findall(r"`([^`]+)`", row.split(" | ")[0])
        parts = [p.strip(" .;:,") for text in said for p in re.split(r"'[^']*'|\d\S*|: ", text)]
        found = [part for part in parts if part.count(" ") > 0 and part in known]
        assert found or "given back" in row, row
