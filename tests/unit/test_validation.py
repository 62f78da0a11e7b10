"""What `athanore validate` says of an app's code, with nothing but the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, DirectoryWorkspace, JsonFileAdapter
from athanore.cli.context import find_app
from athanore.launch.inspection.findings import Level
from athanore.launch.inspection.validation import validate
from tests import harness
from tests.harness import prompt


def app(command: str = "true", **options: Any) -> AgentDispatcher:
    dispatcher = AgentDispatcher(command, name="v", queue_backend=JsonFileAdapter("no/board.json"))
    dispatcher.route("Todo", **options)(prompt)
    return dispatcher


def faults(dispatcher: AgentDispatcher) -> list[str]:
    return [f.says for f in validate("run.py", lambda _: dispatcher) if f.level is Level.FAIL]


def test_an_app_that_is_right_has_no_fault_though_its_board_is_nowhere() -> None:
    assert faults(app(check=["true", "./only-in-the-folder"])) == []


@pytest.mark.parametrize(
    ("dispatcher", "says"),
    [
        (app("no-such-agent"), "the command 'no-such-agent' is not found on PATH"),
        (app(check=["true", "no-such-check -q"]), "'no-such-check' of its check= is not found"),
        (app(cwd="/no/such/folder"), "cwd='/no/such/folder' does not exist"),
        (AgentDispatcher("true", name="v"), "run.py has no routes"),
    ],
)
def test_a_fault_is_told_with_its_route_and_value(dispatcher: AgentDispatcher, says: str) -> None:
    (fault,) = faults(dispatcher)
    assert says in fault


def test_the_programs_of_a_workspace_are_looked_at() -> None:
    """What follows the first command of `setup` may be there thanks to it."""
    setup = ["no-such-setup", "true", "./own", "made-by-setup"]
    space = DirectoryWorkspace("folders", setup=setup, before_run="no-such-hook -q")
    found = validate("run.py", lambda _: app(workspace=space))
    told = {f.says.partition("'Todo': ")[2]: f.level for f in found if f.what == "workspace"}
    assert told == {
        "'no-such-setup' of its workspace's setup= is not found on PATH.": Level.FAIL,
        "'made-by-setup' of its workspace's setup= is not found on PATH.": Level.WARN,
        "'no-such-hook' of its workspace's before_run= is not found on PATH.": Level.WARN,
    }
    (fault,) = faults(app(workspace=DirectoryWorkspace("folders", after_run="no-such-hook")))
    assert "'no-such-hook' of its workspace's after_run=" in fault


@pytest.mark.parametrize("options", [{"command": "no-such"}, {"check": ["no-such"]}])
def test_a_fault_of_a_route_is_told_with_the_line_of_its_function(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(harness.__file__)
    monkeypatch.chdir(file.parent)
    line = prompt.__code__.co_firstlineno
    (fault,) = faults(app(**options))
    assert fault.startswith(f"{file.name}, line {line}: Route 'Todo': ")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("x = (", "line 1"),
        (
            "from athanore import AgentDispatcher\ndispatcher = AgentDispatcher('x', name='v')\n"
            "dispatcher.route('Todo', retries=3)",
            "run.py, line 3: ",
        ),
    ],
)
def test_what_keeps_it_from_being_imported_is_told_with_its_place(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.py").write_text(code)
    (found,) = validate("run.py:dispatcher", lambda name: find_app(name)[1])
    assert (found.level, says in found.says) == (Level.FAIL, True), found.says
