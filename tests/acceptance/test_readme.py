"""What the README shows is what works. Its script and its agent are run by the story."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.checks import check_app
from athanore.settings import Settings
from tests.acceptance.system import README, ROOT, readme_block

PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
LINKS = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]


def test_it_begins_with_the_two_commands_and_the_script() -> None:
    beginning = README[: README.index(PYTHON_BLOCKS[0])]
    assert len(beginning.splitlines()) < 15
    for target in ("demo", "test"):
        assert f"    make {target} " in beginning


@pytest.mark.parametrize("target", ["demo", "test", "install", "lint"])
def test_its_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


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


def test_its_options_are_all_there_are_with_their_defaults() -> None:
    options = README[README.index("## Options") :]
    told: dict[str, str] = {}
    for row in re.findall(r"^\| (`.+?) \| (`.+?) \|", options, re.MULTILINE):
        names, values = (re.findall(r"`([^`]+)`", cell) for cell in row)
        told |= dict(zip(names, values, strict=True))
    for name, value in told.items():
        assert repr(Settings.model_fields[name].default).replace("'", '"') == value, name
    for name in list(inspect.signature(AgentDispatcher.__init__).parameters)[1:]:
        assert name in told or f"`{name}`" in options, name


@pytest.mark.parametrize("target", LINKS)
def test_its_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
