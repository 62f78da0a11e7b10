"""Nobody is told to install `athanore` by name: on the package index it is somebody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.docs.pages import ROOT

# `pip install athanore`, "athanore[planka]", athanore==1, `uvx athanore`, `uv add athanore`, ...;
# what names a path (./athanore, athanore-0.1.0-py3-none-any.whl) is fine.
BY_NAME = re.compile(
    r"\b(?:pip3? (?:install|download|wheel)|uv add|uv tool (?:install|run)|poetry add"
    r"|pipx (?:install|run)|uvx)\b[^\n;&|`]*?(?<![\w./-])athanore(?![\w/-]|\.\w)",
    re.IGNORECASE,
)

# These show such lines on purpose.
OWN = ("tests/docs/test_install_lines.py", "tests/mutations/")
MADE = {"site", "dist", "build"}


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the project, by its path from the root."""
    for folder, folders, files in ROOT.walk():
        folders[:] = [f for f in folders if not f.startswith((".", "__")) and f not in MADE]
        for file in files:
            path = folder / file
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(OWN):
                continue
            with suppress(UnicodeDecodeError):  # a picture
                yield name, path.read_text(encoding="utf-8")


def test_no_line_installs_ours_by_name() -> None:
    found = [f"{name}: {m[0]}" for name, text in texts() for m in BY_NAME.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'pip install "athanore[planka]"',
        "uv pip install athanore",
        "pip install --upgrade athanore==0.1.0",
        "uvx athanore up",
        "pip install prefect athanore",
    ],
)
def test_such_a_line_would_be_found(line: str) -> None:
    assert BY_NAME.search(line)


@pytest.mark.parametrize(
    "line",
    [
        'pip install "./athanore[planka]"',
        "pip install -e .",
        "pip install dist/athanore-0.1.0-py3-none-any.whl",
        "pip install ../athanore",
        "pip install -r requirements.txt && athanore up",
    ],
)
def test_a_path_is_fine(line: str) -> None:
    assert not BY_NAME.search(line)
