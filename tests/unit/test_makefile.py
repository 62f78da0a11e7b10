"""What `make` installs for what, tried with a stand-in for the script that installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SETUP = """\
#!/bin/sh
printf '%s|' "$@" >>"$0.given"
mkdir -p "$1/bin"
printf '#!/bin/sh\\n' >"$1/bin/athanore"
chmod +x "$1/bin/athanore"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a clone as `make demo` needs."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    setup = tmp_path / "deployments/setup-venv"
    setup.parent.mkdir()
    setup.write_text(SETUP)
    setup.chmod(0o755)
    return tmp_path


def given(clone: Path, *targets: str) -> str:
    """What the script was told, over all targets; "" if it was not run."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for target in targets:
        command = ["make", *target.split()]
        subprocess.run(command, cwd=clone, env=env, check=True, capture_output=True)
    told = clone / "deployments/setup-venv.given"
    return told.read_text() if told.exists() else ""


def test_make_demo_installs_only_what_running_needs(clone: Path) -> None:
    assert given(clone, "demo", "demo") == ".venv|constraints.txt||"  # once, and no extras


def test_with_the_developers_tools_there_it_installs_nothing_more(clone: Path) -> None:
    assert given(clone, "install", "demo") == ".venv|"


def test_the_developers_tools_are_brought_up_to_date_as_such(clone: Path) -> None:
    given(clone, "install")
    os.utime(clone / "constraints.txt", (2**31, 2**31))
    assert given(clone, "demo") == ".venv|.venv|"


def test_what_is_only_shown_installs_nothing(clone: Path) -> None:
    assert given(clone, "-n demo", "-n check") == ""
