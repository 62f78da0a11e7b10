"""Where `workspace=` is said, what it inherits, and what agents and prompt functions get of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, DirectoryWorkspace, GitWorkspace, MemoryAdapter, Task
from athanore.errors import ConfigurationError, RouteError
from athanore.launch.inspection.checks import check_agent
from athanore.routing.routes import Route
from athanore.runtime.routes.definitions import RouteOptions
from athanore.runtime.secrets.environment import agent_environment
from athanore.workspaces import Workspace
from tests.harness import prompt

DEFAULT = DirectoryWorkspace("default")
OTHER = DirectoryWorkspace("other")
TASK = Task("1", "Fix it", "Todo")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, DEFAULT),
        ({"workspace": OTHER}, OTHER),
        ({"workspace": None}, None),
        ({"cwd": "/tmp"}, None),
        ({"cwd": "/tmp", "workspace": None}, None),
    ],
    ids=["inherited", "its own", "switched off", "a folder of its own", "both said"],
)
def test_a_route_inherits_the_dispatchers_unless_it_says_where_it_works(
    options: dict[str, Any], expected: object
) -> None:
    dispatcher = AgentDispatcher("true", workspace=DEFAULT)
    dispatcher.route("Todo", **options)(prompt)
    assert dispatcher.routes["Todo"].workspace is expected


def test_a_route_made_by_hand_has_none() -> None:
    assert Route("Todo", prompt).workspace is None


def test_a_folder_and_a_workspace_are_refused_together() -> None:
    with pytest.raises(RouteError, match=r"cwd='/tmp' and workspace= both say where"):
        AgentDispatcher("true").route("Todo", cwd="/tmp", workspace=OTHER)(prompt)


@pytest.mark.parametrize("wrong", ["../repo", Path(), GitWorkspace, 1], ids=str)
def test_what_is_no_workspace_is_refused(wrong: Any) -> None:
    with pytest.raises(RouteError, match=r"workspace=.* must be a workspace, such as GitWork"):
        AgentDispatcher("true").route("Todo", workspace=wrong)(prompt)
    with pytest.raises(ConfigurationError, match=r"workspace=.* must be a workspace, such as"):
        AgentDispatcher("true", workspace=wrong)


async def test_a_prompt_function_may_take_the_workspace() -> None:
    def write(task_id: str, task_name: str, workspace: Workspace | None) -> str:
        return f"{task_name} in {workspace}"

    AgentDispatcher("true").route("Todo")(write)
    route = Route("Todo", write)
    assert await route.make_prompt(TASK, 1, Workspace(Path("/w/1"))) == "Fix it in /w/1"
    assert await route.make_prompt(TASK, 1) == "Fix it in None"


def test_an_agent_is_told_where_it_works() -> None:
    workspace = Workspace(Path("/w/1"), "athanore/1-fix-it", "main")
    base = {"PATH": "/bin", "GIT_DIR": "/launcher/.git"}
    env = agent_environment(
        Route("Todo", prompt), TASK, attempt=1, api_url="", workspace=workspace, base=base
    )
    assert env["ATHANORE_WORKSPACE"] == "/w/1"
    assert env["ATHANORE_BRANCH"] == "athanore/1-fix-it"
    assert env["ATHANORE_BASE"] == "main"
    assert "GIT_DIR" not in env
    without = agent_environment(Route("Todo", prompt), TASK, attempt=1, api_url="", base=base)
    assert not [name for name in without if name in ("ATHANORE_WORKSPACE", "ATHANORE_BRANCH")]


def test_a_root_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = DirectoryWorkspace(tmp_path / "file" / "root").check()
    assert wrong is not None
    assert wrong.endswith("/file/root' cannot be made: " + f"{tmp_path}/file may not be written")
    assert DirectoryWorkspace(tmp_path / "new" / "root").check() is None
    assert not (tmp_path / "new").exists()


def test_a_start_says_what_keeps_a_workspace_from_being_made(tmp_path: Path) -> None:
    dispatcher = AgentDispatcher(
        "true",
        queue_backend=MemoryAdapter(["Todo"]),
        workspace=GitWorkspace(tmp_path / "missing.git", root=tmp_path),
    )
    dispatcher.route("Todo")(prompt)
    with pytest.raises(ConfigurationError, match=r"'Todo': the repository .*missing.git' does not"):
        check_agent(dispatcher, dispatcher.routes["Todo"])


def test_a_folder_that_is_said_over_http_takes_the_place_of_a_workspace() -> None:
    dispatcher = AgentDispatcher("true", workspace=DEFAULT)
    dispatcher.route("Todo", workspace=OTHER)(prompt)
    sent = RouteOptions.model_validate({"cwd": "/srv"})
    changed = sent.applied_to(dispatcher.routes["Todo"])
    assert (changed.cwd, changed.workspace) == (Path("/srv"), None)
