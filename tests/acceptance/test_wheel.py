"""The wheel holds the package and nothing else, and is what an empty environment imports."""

from __future__ import annotations

import subprocess
from pathlib import Path
from zipfile import ZipFile


def test_the_wheel_holds_only_the_package(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"athanore"}
    assert "athanore/py.typed" in names
    others = [n for n in names if not n.endswith((".py", "py.typed")) and ".dist-info/" not in n]
    beside = {n for n in others if not n.startswith("athanore/api/page/web/")}
    doubles = "athanore/testing/doubles"
    assert beside == {
        "athanore/agent_adapters/cli/opencode_waits.js",
        *(f"{doubles}/{of}/schema.graphql" for of in ("github", "linear")),
        *(f"{doubles}/{of}/openapi.json" for of in ("github", "jira")),
        f"{doubles}/gitlab/api.json",
    }
    assert {n.rsplit("/", 1)[1] for n in others} >= {"board.html", "board.css", "board.js"}


def test_an_empty_environment_runs_the_wheel_and_not_the_tree(installed_python: Path) -> None:
    code = "import athanore; print(athanore.__file__)"
    command = [installed_python, "-I", "-c", code]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert Path(out.strip()).is_relative_to(installed_python.parents[1])


def test_prefect_finds_the_worker_by_its_entry_point(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        text = archive.read(name).decode()
    assert "[prefect.collections]\nathanore = athanore.worker" in text
