"""Apps of `athanore init --agent`, for each board and agent."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any, get_args

import pytest

from athanore import AgentDispatcher, Task
from athanore.cli.setup.agent_choice import BUILT_IN, AgentKind, missing, with_agent
from athanore.cli.setup.templates import FILES, BoardKind

BOARDS = get_args(BoardKind.__value__)
AGENTS = [kind for kind in get_args(AgentKind.__value__) if kind not in BUILT_IN]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("agent", AGENTS)
def test_the_script_has_the_agent_and_nothing_of_the_other(
    board: BoardKind, agent: AgentKind
) -> None:
    files = with_agent(FILES[board], agent)
    script = files["run.py"].replace("name=NAME", 'name="x"')
    compile(script, "run.py", "exec")
    assert f'default_agent=CliAgentAdapter("{agent}"' in script
    assert "agent.py" not in script and "shlex" not in script and "command=" not in script
    assert "task.description" in script
    assert ("import Path" in script) is ("HERE /" in script)
    assert {"AGENTS.md", ".gitignore"} <= set(files) and "agent.py" not in files
    own = with_agent(FILES[board], "own")
    assert own == {**FILES[board], **{name: files[name] for name in (".gitignore", "AGENTS.md")}}
    assert ".env.example" in own


def test_the_app_is_one() -> None:
    script = with_agent(FILES["json"], "codex")["run.py"].replace("name=NAME", 'name="x"')
    space: dict[str, Any] = {"__file__": "run.py", "__name__": "run"}
    exec(compile(script, "run.py", "exec"), space)
    assert isinstance(space["dispatcher"], AgentDispatcher)
    task = Task(id="1", name="Fix it", queue_name="Todo", description="It breaks")
    said = space["work"]("1", "Fix it", task)
    assert said.startswith("Work on task 1: Fix it.\n\nIt breaks\n\n")


def test_claude_may_run_the_tests_and_curl_and_the_script_says_so() -> None:
    script = with_agent(FILES["json"], "claude")["run.py"]
    assert "with Bash run every command as you do, without asking" in script
    space: dict[str, Any] = {"__file__": "run.py", "__name__": "run"}
    exec(compile(script.replace("name=NAME", 'name="x"'), "run.py", "exec"), space)
    dispatcher = space["dispatcher"]
    assert isinstance(dispatcher, AgentDispatcher)
    options = vars(dispatcher.default_agent)
    assert any("--allowedTools=Bash" in str(value) for value in options.values())


@pytest.mark.parametrize("board", BOARDS)
def test_the_mock_agent_is_a_command_that_is_there(board: BoardKind) -> None:
    files = with_agent(FILES[board], "mock")
    space: dict[str, Any] = {"__file__": "run.py", "__name__": "run"}
    exec(compile(files["run.py"].replace("name=NAME", 'name="x"'), "run.py", "exec"), space)
    (route,) = space["dispatcher"].routes.values()
    ran = subprocess.run(
        [*shlex.split(route.command)[:-2], "--help"], capture_output=True, check=True, text=True
    )
    assert "Pretends to work" in ran.stdout
    assert route.format_command("hi")[-2:] == ["-p", "hi"]
    assert "agent.py" not in files and missing("mock") is None
    if board == "json":
        todo = json.loads(files["board.json"])["queues"]["Todo"]
        assert [task.get("labels") for task in todo] == [None, ["flaky"], None]
