"""A module has one job, and fits on a few screens."""

from __future__ import annotations

from pathlib import Path

import athanore

LONGEST = 400
SCHEMAS = {"routing/route_options.py": 500}
"""Lists of declarations with their descriptions, which hold no logic, and are one list each."""

FULLEST = 14
"""Modules in one folder: about a dozen. What is more belongs together in parts that have a name."""

PACKAGE = Path(athanore.__file__).parent


def test_no_module_is_longer_than_the_rule_of_the_house_allows() -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert len(lengths) > 100
    assert {p: n for p, n in lengths.items() if n > SCHEMAS.get(p, LONGEST)} == {}


def test_no_folder_holds_more_than_about_a_dozen_modules() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    sizes = {str(f.relative_to(PACKAGE)): len(list(f.glob("*.py"))) for f in folders}
    assert len(sizes) > 30
    assert {folder: n for folder, n in sizes.items() if n > FULLEST} == {}


def test_every_line_of_the_package_is_formatted() -> None:
    skipped = [p.name for p in PACKAGE.rglob("*.py") if "fmt: skip" in p.read_text("utf-8")]
    assert skipped == []
