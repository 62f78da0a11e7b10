"""What the pages for contributors name is there: files, make targets, packages, hooks."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.docs.pages import GENERATED, ROOT

PAGES = ("docs/architecture.md", "docs/reliability.md", "CONTRIBUTING.md", "AGENTS.md")
PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|json|toml|txt|yaml))(?:::\w+)?`")
FOLDERS = re.compile(r"`((?:[\w.-]+/)+)`")
NOT_KEPT = {"run.py", "board.json", f"docs/{GENERATED}"}
"""Files of a user's app, and what `make docs` makes."""


def paths() -> list[tuple[str, str]]:
    """Every file and folder that a page names, with the page."""
    found: set[tuple[str, str]] = set()
    for page in PAGES:
        text = (ROOT / page).read_text()
        found |= {(page, path) for path in PATH.findall(text) + FOLDERS.findall(text)}
    return sorted((page, path) for page, path in found if path not in NOT_KEPT)


@pytest.mark.parametrize(("page", "path"), paths())
def test_files_that_are_named_exist(page: str, path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "athanore" / path).exists(), f"{page} names {path}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "AGENTS.md"])
def test_commands_and_links_of_these_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("http") or (ROOT / link).is_file(), link


def test_the_table_of_packages_is_the_linters() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("| package | what it holds |")[2].partition("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c.get("containers") == ["athanore"]]
    layers = [set(layer.split(" | ")) for layer in contract["layers"]]
    assert rows == layers


def test_hooks_are_local_and_need_no_network() -> None:
    config: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    linters = (ROOT / "Makefile").read_text()
    for repo in config["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            program = hook["entry"].split()[0].removeprefix(".venv/")
            assert program in linters, f"`make lint` does not run {program}"
