"""Ctrl-C in the first second of a script, before the app is up, ends it without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPT = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
"""
MADE = """
dispatcher = AgentDispatcher(name="interrupted")
raise KeyboardInterrupt
"""
IMPORT = "from athanore import AgentDispatcher\n"


def run(folder: Path, code: str) -> tuple[int, str]:
    (folder / "run.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=folder,
        env={**os.environ, "PREFECT_HOME": str(folder / "prefect")},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("code", [INTERRUPT + IMPORT, IMPORT + MADE])
def test_a_script_ends_quietly(tmp_path: Path, code: str) -> None:
    assert run(tmp_path, code) == (130, "")


def test_a_module_that_is_imported_by_another_is_interrupted_as_any(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(IMPORT)
    code = (
        INTERRUPT
        + "try:\n    import work\nexcept KeyboardInterrupt:\n    print('mine', file=sys.stderr)\n"
    )
    assert run(tmp_path, code) == (0, "mine\n")
