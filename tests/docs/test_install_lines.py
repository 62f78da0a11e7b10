"""Nobody is told to install `athanore` by name: on the package index it is somebody else's."""

from __future__ import annotations

import re
import subprocess

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


def test_no_line_installs_ours_by_name() -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found: list[str] = []
    for name in filter(None, files.split("\0")):
        path = ROOT / name
        if name.startswith(OWN) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{name}: {match[0]}" for match in BY_NAME.finditer(text)]
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
