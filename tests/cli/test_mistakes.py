"""What a person mistypes gets one clear line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from athanore import __version__
from athanore.cli import main
from tests.cli.rig import Cli, write_script
from tests.cli.terminal import command, on_a_terminal
from tests.support import clean_environment, free_port, wait_until


def athanore(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the console script's function in a process of its own, in a folder."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**clean_environment(folder / "prefect"), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a mistake gets."""
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("athanore: ")
    return lines[0]


def test_help_and_version_do_not_import_prefect(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from athanore.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit_:\n    code = exit_.code\n"
        "assert 'prefect' not in sys.modules and 'fastapi' not in sys.modules\n"
        "sys.exit(code)"
    )
    for arguments, text in (
        (["--version"], __version__),
        (["--help"], "dead-letters"),
        (["dispatch", "--help"], "--queue"),
    ):
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dispach", "1"], ['Unknown command "dispach"', 'Did you mean "dispatch"']),
        (["create", "Todo", "-x"], ["Unknown option: -x", "stands after `--`"]),
        (["create", "Todo", "--", "-x"], ["Which app?"]),
        (["create", "Todo", "x", "-d", "- first"], ["Which app?"]),
        (["cancel", "1", "--reason", "-x"], ["Which app?"]),
        (["status", "--jso"], ["Unknown option", "Did you mean --json"]),
        (["dispatch"], ["requires an argument"]),
        (["requeue"], ["Name one task, or say --all"]),
        (["requeue", "1", "--all"], ["Name one task, or say --all"]),
        (["routes"], ["Which app?", "ATHANORE_APP", "run.py"]),
        (["routes", "--app", "nope.py"], ["There is no file", "nope.py"]),
        (["routes", "--app", "no_such_package.app"], ["There is no module 'no_such_package'"]),
        (["deploy", "--drain", "-1"], ["--drain", "Must be >= 0"]),
        (["show", "caf\udce9"], ["'caf\\udce9' is not valid UTF-8."]),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    output = Cli("http://127.0.0.1:1/api", capsys)(*arguments)
    assert output.code == 2
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    for word in words:
        assert word in output.err


def test_a_description_that_is_not_utf_8(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8"))
    output = Cli("http://127.0.0.1:1/api", capsys)("add", "T", "-q", "Todo", "-d", "-")
    assert output.code == 2
    says = "athanore: The description on standard input is not valid UTF-8: b'\\xe9'.\n"
    assert output.err == says


def routes_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `athanore routes` fail with an error that nothing below `main` expects."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("athanore.cli.looking.from_app", fail)


def test_a_file_that_cannot_be_reached_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/data/board.json")
    routes_raises(error, monkeypatch)
    output = Cli("http://127.0.0.1:1/api", capsys)("routes")
    assert output.code == 2
    assert output.err == "athanore: /data/board.json: Permission denied.\n"


@pytest.mark.parametrize("defect", [OSError("no"), UnicodeEncodeError("utf-8", "x", 0, 1, "no")])
def test_a_defect_is_shown_whole(defect: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    routes_raises(defect, monkeypatch)
    with pytest.raises(type(defect)):
        main(["routes"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_the_kind\n", ["ModuleNotFoundError", "nothing_of_the_kind", "line 1"]),
        ("x = 1\ndispatcher = (\n", ["SyntaxError", "run.py, line 2"]),
        ("x = 1\n", ["no AgentDispatcher called 'dispatcher'", "It has none"]),
        (
            "from athanore import AgentDispatcher\napp = AgentDispatcher()\n",
            ["It has run.py:app"],
        ),
        (
            "from athanore import AgentDispatcher\ndispatcher = AgentDispatcher(poll_interval=0)\n",
            ["poll_interval=0", "greater than 0"],
        ),
        (
            "from athanore import AgentDispatcher\ndispatcher = AgentDispatcher()\n",
            ["run.py:dispatcher has no routes"],
        ),
        (
            "from athanore import AgentDispatcher\n"
            "dispatcher = AgentDispatcher()\ndispatcher.run()\n",
            ["run.py calls dispatcher.run() while it is imported", '`if __name__ == "__main__":`'],
        ),
    ],
)
def test_a_script_that_does_not_work(
    text: str,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "run.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    output = Cli("http://127.0.0.1:1/api", capsys)("deploy")
    assert (output.code, output.out) == (2, "")
    assert output.err.count("\n") == 1, output.err
    for word in words:
        assert word in output.err


def test_without_prefect_a_command_says_where_it_looked(tmp_path: Path) -> None:
    write_script(tmp_path, "nowhere")
    port = str(free_port())
    result = athanore(tmp_path, "status", PREFECT_SERVER_API_PORT=port)
    assert result.returncode == 2
    assert f"No Prefect server answers at http://127.0.0.1:{port}/api" in one_line(result)
    result = athanore(tmp_path, "worker", PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    assert result.returncode == 2
    assert "api_port=0 leaves this worker's agents without" in one_line(result)


@pytest.mark.parametrize("named", [True, False])
def test_without_prefect_the_board_can_be_changed(named: bool, tmp_path: Path) -> None:
    write_script(tmp_path, "before-its-start")
    port = str(free_port())
    where = (
        {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        if named
        else {"PREFECT_SERVER_API_PORT": port}
    )

    def gives(*arguments: str) -> subprocess.CompletedProcess[str]:
        result = athanore(tmp_path, *arguments, **where)
        assert result.returncode == 0, result.stderr
        return result

    added = gives("add", "Fix it", "-d", "Slowly.")
    assert "Created 'Fix it'" in added.stdout
    assert "The next poll dispatches task" in added.stderr
    assert f"No Prefect server answers at http://127.0.0.1:{port}/api" in added.stderr
    gives("edit", "Fix it", "--title", "Mend it")
    gives("comment", "Mend it", "With care.")
    assert "The next poll" not in gives("move", "Mend it", "Backlog").stderr
    queues = json.loads((tmp_path / "board.json").read_text())["queues"]
    (task,) = queues["Backlog"]
    assert (task["name"], task["description"]) == ("Mend it", "Slowly.")
    assert [c["text"] for c in task["comments"]] == ["With care."] and not queues["Todo"]


def test_a_task_is_added_before_there_is_a_board_and_nothing_else_makes_one(tmp_path: Path) -> None:
    write_script(tmp_path, "no-board")
    (board := tmp_path / "board.json").unlink()
    where = {"PREFECT_SERVER_API_PORT": str(free_port())}
    moved = athanore(tmp_path, "move", "Fix it", "Backlog", **where)
    assert (moved.returncode, board.exists()) == (1, False)
    assert "does not exist" in one_line(moved)
    added = athanore(tmp_path, "add", "Fix it", **where)
    assert added.returncode == 0, added.stderr
    queues = json.loads(board.read_text())["queues"]
    assert [task["name"] for task in queues["Todo"]] == ["Fix it"] and "In Progress" in queues


def test_a_board_that_would_end_with_the_command_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(
        "from athanore import AgentDispatcher, MemoryAdapter\n"
        "dispatcher = AgentDispatcher(\n"
        "    name='in-memory', queue_backend=MemoryAdapter(['Todo', 'In Progress', 'Done'])\n"
        ")\n"
        "@dispatcher.route(queue_name='Todo')\n"
        "def todo(task_id, task_name):\n    return 'Do it.'\n"
    )
    result = athanore(tmp_path, "add", "Fix it", PREFECT_SERVER_API_PORT=str(free_port()))
    assert result.returncode == 2
    assert "in the memory of process" in one_line(result) and "Start the app" in result.stderr


@pytest.mark.parametrize("arguments", [("add", ""), ("comment", "1", "")])
def test_what_a_board_cannot_take_is_a_mistake(arguments: tuple[str, ...], tmp_path: Path) -> None:
    write_script(tmp_path, "too-much")
    (tmp_path / "board.json").write_text('{"queues": {"Todo": [{"id": "1", "name": "One"}]}}')
    result = athanore(tmp_path, *arguments, PREFECT_SERVER_API_PORT=str(free_port()))
    assert result.returncode == 2
    assert len(one_line(result)) > 20


@pytest.mark.nightly
def test_a_board_that_is_a_folder(tmp_path: Path) -> None:
    script = write_script(tmp_path, "folder")
    (tmp_path / "board.json").unlink()
    (tmp_path / "board.json").mkdir()
    result = athanore(tmp_path, "up", script.name)
    assert result.returncode == 2
    assert "board.json" in one_line(result)


@pytest.mark.parametrize(("key", "code"), [("n\n", 2), ("\n", 2), ("", 130), ("y\n", 2)])
def test_who_is_at_a_terminal_is_asked_whether_to_make_queues(
    key: str, code: int, tmp_path: Path
) -> None:
    script = write_script(tmp_path, "asked")
    board = tmp_path / "board.json"
    board.write_text('{"queues": {"Todo": [], "Review": [], "In Progress": []}}')
    env = {**clean_environment(tmp_path / "prefect"), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    with on_a_terminal(command("up", script.name), tmp_path, env) as terminal:
        wait_until("it asks", lambda: "Make what is missing now? [y/N]" in terminal.text, 120)
        terminal.type(key)
        if not key:
            terminal.interrupt()
        assert terminal.end() == code, terminal.text
        assert "Traceback" not in terminal.text
        goes_on = "No Prefect server answers" in terminal.text
    assert goes_on is (key == "y\n")
    made = [q for q in ("Done", "Failed") if q in json.loads(board.read_text())["queues"]]
    assert made == (["Done", "Failed"] if goes_on else [])


def test_who_is_at_a_terminal_hears_what_else_is_wrong(tmp_path: Path) -> None:
    script = write_script(tmp_path, "both")
    (tmp_path / "board.json").unlink()
    (tmp_path / "board.json").mkdir()
    env = {**clean_environment(tmp_path / "prefect"), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    with on_a_terminal(command("up", script.name), tmp_path, env) as terminal:
        assert terminal.end() == 2
        first, *others = terminal.text.splitlines()
    assert first.startswith("athanore: ") and "board.json" in first
    told = [line for line in others if line.startswith("fail ")]
    assert len(told) == 1 and "No Prefect server answers" in told[0], others


@pytest.mark.nightly
def test_colours_only_where_they_are_wanted(tmp_path: Path) -> None:
    write_script(tmp_path, "colours")
    escape = "\x1b["
    assert escape in _on_a_terminal(tmp_path, {})
    plain = _on_a_terminal(tmp_path, {"NO_COLOR": "1"})
    assert "Review" in plain
    assert "\x1b[3" not in plain, "no colours"
    assert escape not in athanore(tmp_path, "routes").stdout


def _on_a_terminal(folder: Path, env: dict[str, str]) -> str:
    """What `athanore routes` writes to a terminal."""
    environment = {**clean_environment(folder / "prefect"), **env}
    if not env:
        environment.pop("NO_COLOR", None)
    with on_a_terminal(command("routes"), folder, environment) as terminal:
        assert terminal.end() == 0, terminal.text
        return terminal.text


def test_a_reader_that_stops_early(tmp_path: Path) -> None:
    write_script(tmp_path, "pipe")
    code = f"{sys.executable} -c 'from athanore.cli import main; main()' routes --json | head -c 1"
    result = subprocess.run(
        ["sh", "-c", code], cwd=tmp_path, env=clean_environment(tmp_path / "prefect"),
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert result.stdout == "["
    assert result.stderr == ""


def test_workers_whose_prefect_an_app_has_started_are_not_restarted_under_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Cli("", capsys)("workers", "restart")
    assert output.code == 2
    assert "PREFECT_API_URL is not set" in output.err
    assert "`athanore stop`" in output.err
