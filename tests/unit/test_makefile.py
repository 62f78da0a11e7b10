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
    """What the script was told, over all targets."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for target in targets:
        subprocess.run(["make", target], cwd=clone, env=env, check=True, capture_output=True)
    return (clone / "deployments/setup-venv.given").read_text()


def test_make_demo_installs_only_what_running_needs(clone: Path) -> None:
    assert given(clone, "demo", "demo") == ".venv|constraints.txt||"  # once, and no extras


def test_with_the_developers_tools_there_it_installs_nothing_more(clone: Path) -> None:
    assert given(clone, "install", "demo") == ".venv|"
