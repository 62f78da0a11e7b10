"""What the package imports is declared: nothing is there only because something else needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_imported_is_declared() -> None:
    deptry = Path(sys.executable).parent / "deptry"
    run = subprocess.run(
        [deptry, "--no-ansi", "athanore"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
