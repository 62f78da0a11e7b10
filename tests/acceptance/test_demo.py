"""`athanore demo` needs no clone, shows a pipeline at work, ends, and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.system import System
from tests.cli.terminal import command

DEMO = command("demo")


@pytest.mark.timeout(900)
def test_the_demo_goes_as_it_should_and_is_plain_when_piped(
    tmp_path: Path, installed_python: Path
) -> None:
    folder = tmp_path / "demo"
    result = subprocess.run(
        [installed_python, *DEMO[1:], folder],
        cwd=tmp_path, capture_output=True, text=True, timeout=850, stdin=subprocess.DEVNULL,
        # Settings of the caller must not reach the demo's own server and worker.
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api", "ATHANORE_API_PORT": "1"},
    )  # fmt: skip
    (tmp_path / "output").write_text(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    for expected in (
        "Fix the flaky test   Retry 1/1: exit code 1.",
        "Fix the flaky test   In Review -> Done",
        "athanore/1-add-a-login-page: Add a login page",
        "athanore/2-fix-the-flaky-test: Fix the flaky test",
        "Board page: http://127.0.0.1:",
        "Prefect UI: http://127.0.0.1:",
        "/docs",
        "The demo went as it should",
    ):
        assert expected in result.stdout
    assert result.stdout.index("Board page: ") < result.stdout.index("Prefect UI: ")
    left = System(tmp_path / "after", "")
    left.home = folder / "prefect"
    assert left.processes() == []


def refused(folder: Path) -> str:
    result = subprocess.run([*DEMO, folder], capture_output=True, text=True, timeout=180)
    assert (result.returncode, result.stderr) == (1, "")
    return " ".join(result.stdout.split())


def test_the_demo_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "precious"
    mine.write_text("mine")
    (tmp_path / "demo.log").write_text("of a demo")
    assert "has 'precious', which is not the demo's" in refused(tmp_path)
    assert "cannot be used" in refused(mine)
    assert mine.read_text() == "mine"
    mine.unlink()
    (tmp_path / "run.py").write_text("# changed by its reader")
    assert "would be lost" in refused(tmp_path)
    assert (tmp_path / "run.py").read_text() == "# changed by its reader"
