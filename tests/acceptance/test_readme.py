"""What the README shows is what works. Its script and its agent are run by the story."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from athanore.launch.inspection.checks import check_app
from tests.acceptance.system import README, ROOT, readme_block

PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
LINKS = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]


def test_it_begins_with_the_two_commands_and_the_script() -> None:
    beginning = README[: README.index(PYTHON_BLOCKS[0])]
    assert len(beginning.splitlines()) < 15
    for target in ("demo", "test"):
        assert f"    make {target} " in beginning


def test_the_targets_that_it_names_exist() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    targets = {line.split()[0] for line in listed.stdout.splitlines()}
    named = set(re.findall(r"make ([a-z]+)[ `]", README))
    assert {"demo", "test", "help"} <= named <= targets


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_its_python_is_an_app_that_can_start(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = tmp_path / "my-agent"
    agent.write_text(readme_block("sh", "#!/bin/sh"))
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "run.py"
    script.write_text(PYTHON_BLOCKS[number])
    dispatcher = runpy.run_path(str(script))["dispatcher"]
    check_app(dispatcher)
    assert (tmp_path / "board.json").is_file()


def test_its_board_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text(readme_block("json", "queues"))
    adapter = JsonFileAdapter(tmp_path / "board.json")
    (task,) = adapter.get_ready_tasks(["Todo"])
    assert (task.id, task.name, task.labels) == ("1", "Fix crash", ("bug",))


@pytest.mark.parametrize("target", LINKS)
def test_its_links_lead_somewhere(target: str) -> None:
    path, _, anchor = target.partition("#")
    assert (ROOT / path).exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings}
