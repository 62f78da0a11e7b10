"""What `athanore doctor` says of what is installed, and of each fault of a set-up."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)

from athanore import GitWorkspace, JsonFileAdapter, ScriptedAgent
from athanore.dispatcher import AgentDispatcher
from athanore.launch.inspection.doctor import board_finding, examine, judge_prefect
from athanore.launch.inspection.findings import Finding, Level
from athanore.queue_adapters.sql import SqlBoard
from tests.harness import prompt
from tests.repositories import git
from tests.support import free_port


@pytest.mark.parametrize("version", ["3.8.8", "3.9.1", "3.9.0rc1"])
def test_a_prefect_that_fits_is_no_finding(version: str) -> None:
    assert judge_prefect(version) is None


@pytest.mark.parametrize("version", ["2.20.1", "3.7.4", "3.10.0", "3.80.0"])
def test_a_prefect_that_does_not_fit_is_told_with_those_that_do(version: str) -> None:
    found = judge_prefect(version)
    assert found is not None
    assert found.level is Level.FAIL
    assert found.says == f"version {version} is installed; Athanore is tested with 3.8 and 3.9."


@pytest.mark.parametrize("kind", [JsonFileAdapter, SqlBoard])
def test_a_board_that_is_not_there_yet_is_not_made(
    kind: type[JsonFileAdapter | SqlBoard], tmp_path: Path
) -> None:
    file = tmp_path / "board"
    board = kind(file)
    dispatcher = AgentDispatcher(name="t", default_agent=ScriptedAgent(), queue_backend=board)
    dispatcher.route("Todo")(prompt)
    found = board_finding(dispatcher)
    assert (found.level, found.says) == (Level.OK, f"{file} is made at the first start")
    assert list(tmp_path.iterdir()) == []
    board.prepare(["Todo", "In Progress"])
    assert board_finding(dispatcher).says == f"{file}: 2 queues, 0 tasks"


class SetUp:
    """A set-up without a fault, as a test changes it: an app, its board, Prefect's settings."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.board = folder / "board.json"
        self.board.write_text('{"queues": {"Todo": [], "In Progress": [], "Done": []}}')
        self.options: dict[str, Any] = {"api_port": 0}
        self.route: dict[str, Any] = {"command": "true", "done_queue": "Done"}
        self.beside: dict[str, dict[str, Any]] = {}
        self.prefect: dict[Any, Any] = {
            PREFECT_API_URL: None,
            PREFECT_SERVER_API_PORT: free_port(),
            PREFECT_HOME: folder,
        }

    def app(self, _: str) -> AgentDispatcher:
        board = JsonFileAdapter(self.board)
        app = AgentDispatcher(name="planted", queue_backend=board, **self.options)
        for queue, options in {"Todo": self.route, **self.beside}.items():
            app.route(queue, **options)(prompt)
        return app

    def findings(self) -> list[Finding]:
        """What doctor says, but for what is well."""
        with temporary_settings(self.prefect):
            found = asyncio.run(examine("run.py:dispatcher", self.app))
        return [f for f in found if f.level is not Level.OK]


@contextmanager
def taken_port() -> Generator[int]:
    """A port of a program that says nothing and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def no_folder_for_prefect(it: SetUp) -> None:
    file = it.folder / "file"
    file.write_text("")
    it.prefect[PREFECT_HOME] = file / "below"


def an_entry_without_id(it: SetUp) -> None:
    it.board.write_text('{"queues": {"Todo": [{"name": "x"}], "In Progress": [], "Done": []}}')


def a_circle(it: SetUp) -> None:
    it.beside["Done"] = {"command": "true", "done_queue": "Todo"}


def a_repository_without_main(it: SetUp) -> None:
    it.route["workspace"] = GitWorkspace(a_repository(it, "master"), root=it.folder / "spaces")


def a_repository_that_is_none(it: SetUp) -> None:
    (it.folder / "empty").mkdir()
    it.route["workspace"] = GitWorkspace(it.folder / "empty", root=it.folder / "spaces")


def nobody_who_commits(it: SetUp) -> None:
    it.route["workspace"] = GitWorkspace(a_repository(it, "main"), root=it.folder / "spaces")
    it.route["expects"] = "commits"
    it.patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    it.patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    it.patch.chdir(it.folder)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        it.patch.delenv(name, raising=False)


def a_repository(it: SetUp, branch: str) -> Path:
    place = it.folder / "toy"
    place.mkdir()
    git(place, "init", "-q", "-b", branch)
    git(place, "commit", "-q", "--allow-empty", "-m", "Begin")
    return place


type Plant = Callable[[SetUp], object]

FAULTS: dict[str, tuple[Plant, str, Level, str]] = {
    "a repository without the base": (
        a_repository_without_main, "workspace", Level.FAIL, "its branches: 'master'",
    ),
    "no repository": (a_repository_that_is_none, "workspace", Level.FAIL, "ls-remote"),
    "nobody who commits": (nobody_who_commits, "git", Level.WARN, "no name and address"),
    "a broken board": (lambda s: s.board.write_text("{"), "board", Level.FAIL, "is broken"),
    "a board's folder that is gone": (
        lambda s: setattr(s, "board", s.folder / "gone" / "board.json"),
        "board", Level.FAIL, "gone",
    ),
    "a board that is a folder": (
        lambda s: setattr(s, "board", s.folder), "board", Level.FAIL, "is a folder",
    ),
    "a lock that is a folder": (
        lambda s: (s.folder / ".board.json.lock").mkdir(), "board", Level.FAIL, "cannot be taken",
    ),
    "a queue that is not on the board": (
        lambda s: s.route.update(done_queue="Doen"), "board", Level.FAIL, "Did you mean 'Done'",
    ),
    "an entry without an id": (an_entry_without_id, "board", Level.WARN, "has no id"),
    "a command that is not there": (
        lambda s: s.route.update(command="no-such-agent"), "agent", Level.FAIL, "is not found",
    ),
    "a folder of agents that is not there": (
        lambda s: s.route.update(cwd=s.folder / "gone"), "agent", Level.FAIL, "does not exist",
    ),
    "a circle of routes": (a_circle, "routes", Level.WARN, "go round"),
    "an option that there is not": (
        lambda s: s.route.update(retrys=1), "app", Level.FAIL, "Did you mean retry_delay=?",
    ),
    "a wrong value of a variable": (
        lambda s: s.patch.setenv("ATHANORE_AGENT_TIMEOUT", "1h"),
        "app", Level.FAIL, "ATHANORE_AGENT_TIMEOUT='1h'",
    ),
    "a task API that is open to everybody": (
        lambda s: s.options.update(api_host="0.0.0.0"),
        "API access", Level.FAIL, "would be open to everybody",
    ),
    "an approval that agents could give": (
        lambda s: s.route.update(approve_before="start"),
        "API access", Level.FAIL, "keeps nobody from approving",
    ),
    "tokens without a key": (
        lambda s: s.patch.setenv("ATHANORE_API_AUTH", "token"),
        "API access", Level.FAIL, "ATHANORE_API_KEY",
    ),
    "a key that can be guessed": (
        lambda s: s.patch.setenv("ATHANORE_API_KEY", "k3y"), "API access", Level.WARN, "be guessed",
    ),
    "a home of Prefect that cannot be written": (
        no_folder_for_prefect, "PREFECT_HOME", Level.FAIL, "cannot be written",
    ),
    "an address of Prefect that is none": (
        lambda s: s.prefect.update({PREFECT_API_URL: "http://host:port/api"}),
        "Prefect", Level.FAIL, "must be an address like",
    ),
    "a Prefect that does not answer": (
        lambda s: s.prefect.update({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        "Prefect", Level.FAIL, "No Prefect server answers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_is_planted_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, what, level, words = FAULTS[name]
    setup = SetUp(tmp_path, monkeypatch)
    plant(setup)
    found = [f for f in setup.findings() if f.what == what and f.level is level]
    assert len(found) == 1, setup.findings()
    assert words in f"{found[0].says} {found[0].mend}"


def test_a_set_up_without_a_fault_lacks_only_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = SetUp(tmp_path, monkeypatch).findings()
    assert (found.what, found.level) == ("Prefect", Level.WARN)
    assert "`athanore up` starts one" in found.mend


@pytest.mark.parametrize("whose", ["task API", "Prefect"])
def test_a_port_that_another_program_has(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = SetUp(tmp_path, monkeypatch)
    with taken_port() as port:
        if whose == "Prefect":
            setup.prefect[PREFECT_SERVER_API_PORT] = port
        else:
            setup.options["api_port"] = port
        (found,) = [f for f in setup.findings() if f.what == whose]
    assert found.level is Level.FAIL
    assert "free port" in f"{found.says} {found.mend}"
