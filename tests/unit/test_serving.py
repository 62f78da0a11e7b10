"""The note of where an app is served counts while the app lives, and as it is now."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import athanore
from athanore.cli import main
from athanore.launch.serving import find_serving, serving
from athanore.models import Comment, Task
from athanore.services.showing.views import (
    DeadLetter,
    Kind,
    NeedsPerson,
    Overview,
    WholeTask,
    read_view,
)
from athanore.texts import as_json
from tests.support import free_port, wait_until

PREFECT = "http://127.0.0.1:4200/api"
APP = """\
from athanore import AgentDispatcher, MemoryAdapter
dispatcher = AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"]))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "run.py").write_text("# an app\n")
    return tmp_path


def test_an_app_is_found_from_any_folder_while_it_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_serving("run.py:dispatcher") is None
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("0.0.0.0", 81), PREFECT, needs_token=True):
        found = find_serving("run.py:dispatcher")
        assert found is not None
        assert (found.url, found.needs_token) == ("http://127.0.0.1:81", True)
        assert find_serving("run.py:other") is None
        (folder / "sub").mkdir()
        monkeypatch.chdir(folder / "sub")
        assert find_serving(f"{code}:dispatcher") == found
        assert find_serving("run.py:dispatcher") is None
        monkeypatch.chdir(folder)
        # A second process of the app takes nothing away from the first.
        with serving("run.py:dispatcher", code, ("::", 82), PREFECT, needs_token=False):
            assert find_serving("run.py:dispatcher") == found
        assert find_serving("run.py:dispatcher") == found
    assert find_serving("run.py:dispatcher") is None


def test_it_is_not_found_with_other_code_or_another_prefect(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("127.0.0.1", 81), PREFECT, needs_token=False):
        monkeypatch.setenv("PREFECT_API_URL", PREFECT + "/")
        assert find_serving("run.py:dispatcher") is not None
        monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
        assert find_serving("run.py:dispatcher") is None
        monkeypatch.delenv("PREFECT_API_URL")
        os.utime(code, ns=(1, 1))
        assert find_serving("run.py:dispatcher") is None


def test_code_that_is_just_being_written_keeps_nobody_from_the_app(folder: Path) -> None:
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("127.0.0.1", 81), PREFECT, needs_token=False):
        for broken in ("def half(\n", "a = '\0'\n"):
            code.write_text(broken)
            assert find_serving("run.py:dispatcher") is not None
        code.write_text("# another app\n")
        assert find_serving("run.py:dispatcher") is None


def test_one_that_starts_or_has_other_code_is_found_by_who_wants_that(folder: Path) -> None:
    code = folder / "run.py"
    with serving(
        "run.py:dispatcher", code, ("127.0.0.1", 81), "", needs_token=False, is_ready=False
    ) as note:
        assert find_serving("run.py:dispatcher") is None
        found = find_serving("run.py:dispatcher", starting_too=True)
        assert found is not None and not found.is_ready and found.pid == os.getpid()
        note.tell(is_ready=True, prefect=PREFECT, restarts=True)
        found = find_serving("run.py:dispatcher")
        assert found is not None and found.restarts
        os.utime(code, ns=(1, 1))
        assert find_serving("run.py:dispatcher") is None
        assert find_serving("run.py:dispatcher", changed_too=True) is not None
        note.renew()
        assert find_serving("run.py:dispatcher") is not None
        note.refuse("a longer text than the one of before " * 20)
        note.refuse("short")
        found = find_serving("run.py:dispatcher")
        assert found is not None and (found.refusals, found.refused) == (2, "short")


def test_a_note_of_another_version_is_read_as_far_as_it_is_known(folder: Path) -> None:
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("::1", 81), PREFECT, needs_token=False) as note:
        note.tell(version="999")
        (place,) = (folder / "home").rglob("*.json")
        place.write_text(json.dumps({**json.loads(place.read_text()), "colour": "green"}))
        assert find_serving("run.py:dispatcher") is None
        found = find_serving("run.py:dispatcher", changed_too=True)
        assert found is not None and found.version == "999"


def test_a_command_says_that_the_app_is_starting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    (folder / "run.py").write_text(APP)
    address = ("127.0.0.1", 81)
    with serving(
        "run.py:dispatcher", folder / "run.py", address, "", needs_token=False, is_ready=False
    ):
        assert given("status") == 1
        assert re.search(r"The app is starting, for \d+ s so far", capsys.readouterr().err)
        assert given("restart") == 1
        assert "is starting, with the code that was there" in capsys.readouterr().err
        assert given("open", "--print") == 0
        assert "http://127.0.0.1:81" in capsys.readouterr().out
    assert given("status") == 2
    assert "starting, for" not in capsys.readouterr().err
    prefect = os.environ["PREFECT_API_URL"]
    with serving("run.py:dispatcher", folder / "run.py", address, prefect, needs_token=False):
        assert given("status") == 1
        assert "its Prefect does not answer" in capsys.readouterr().err


def test_a_setting_that_keeps_the_key_from_being_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ATHANORE_API_KEY", raising=False)
    monkeypatch.setenv("ATHANORE_API_PORT", "abc")
    (folder / ".env").write_text("ATHANORE_API_KEY=key-of-the-operators\n")
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("127.0.0.1", 81), PREFECT, needs_token=True):
        assert given("status") == 2
    assert capsys.readouterr().err.startswith("athanore: ATHANORE_API_PORT='abc': ")


def given(*words: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return exit_.value.code


def test_what_is_no_app_of_this_host_is_not_restarted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = folder / "run.py"
    assert given("restart") == 2
    assert "does not run on this machine" in capsys.readouterr().err
    with serving("run.py:dispatcher", code, ("::1", 81), PREFECT, needs_token=False) as note:
        assert given("restart") == 2
        assert "only serves the task API (athanore api)" in capsys.readouterr().err
        note.tell(restarts=True, host="elsewhere.example")
        for command in ("restart", "stop"):
            assert given(command) == 2
            assert "runs on host 'elsewhere.example'" in capsys.readouterr().err


def test_what_a_killed_process_left_does_not_count(folder: Path) -> None:
    script = (
        "import time\nfrom pathlib import Path\nfrom athanore.launch.serving import serving\n"
        "with serving('run.py:dispatcher', Path('run.py').resolve(), ('127.0.0.1', 81), "
        f"{PREFECT!r}, needs_token=False):\n    print('served', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        wait_until("it is served", lambda: find_serving("run.py:dispatcher") is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert list((folder / "home").rglob("*.json"))
    assert find_serving("run.py:dispatcher") is None
    with serving("run.py:dispatcher", folder / "run.py", ("::1", 82), PREFECT, needs_token=False):
        found = find_serving("run.py:dispatcher")
        assert found is not None and found.url == "http://[::1]:82"


def test_public_names_are_there_though_each_is_imported_at_its_first_use() -> None:
    assert {name for name in athanore.__all__ if getattr(athanore, name) is None} == set()
    assert set(athanore.__all__) <= set(dir(athanore))


def test_what_a_command_shows_comes_through_json_as_it_was() -> None:
    now = datetime.now(UTC)
    letter = DeadLetter("1", "Fix", "Failed", "Todo", "no", 2, "", now, None, None)
    matter = NeedsPerson(Kind.ORPHAN, "says", "mend", "1")
    seen = Overview("app", "ui", ("1",), None, 0, (), (), (), (letter,), (matter,), None)
    task = WholeTask(Task("1", "Fix", "Todo", comments=(Comment("Hello", None, now),)), ())
    for value in (seen, task):
        assert read_view(type(value), _as_sent(value)) == value
    with pytest.raises((LookupError, TypeError)):
        read_view(Overview, {"app": "app"})


def _as_sent(value: object) -> object:
    import dataclasses
    import json

    assert dataclasses.is_dataclass(value) and not isinstance(value, type)
    return json.loads(as_json(dataclasses.asdict(value)))


@pytest.mark.parametrize(("status", "waits"), [(401, False), (404, False), (503, True)])
def test_a_prefect_that_refuses_is_not_one_to_wait_for(
    status: int,
    waits: bool,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefect = f"http://127.0.0.1:{server.server_port}/api"
        monkeypatch.setenv("PREFECT_API_URL", prefect)
        (folder / "run.py").write_text(APP)
        address = ("127.0.0.1", free_port())
        with (
            serving("run.py:dispatcher", folder / "run.py", address, prefect, needs_token=True),
            temporary_settings({PREFECT_API_URL: prefect}),
        ):
            code = given("status")
        server.shutdown()
    said = capsys.readouterr().err
    assert (code, "It waits for Prefect" in said) == (1 if waits else 2, waits), said
    assert waits or str(status) in said


def test_what_is_too_long_for_the_app_is_not_done_without_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class TooLong(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(413)
            self.end_headers()
            self.wfile.write(b'{"detail": "The body is over 1 MiB."}')

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    (folder / "run.py").write_text("raise RuntimeError('a command has imported the app')\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 2**20))
    with ThreadingHTTPServer(("127.0.0.1", 0), TooLong) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = ("127.0.0.1", server.server_port)
        with serving("run.py:dispatcher", folder / "run.py", address, PREFECT, needs_token=False):
            assert given("add", "New", "--queue", "Todo", "-d", "-") == 2
        server.shutdown()
    assert capsys.readouterr().err == "athanore: The body is over 1 MiB.\n"


def test_code_that_cannot_be_imported_is_told_with_the_app_that_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = folder / "run.py"
    with serving("run.py:dispatcher", code, ("127.0.0.1", 81), PREFECT, needs_token=False):
        code.write_text("import no_such_module_of_ours\n")
        assert given("status") == 2
    assert "http://127.0.0.1:81 goes on with the code that it has" in capsys.readouterr().err
