"""The note of where an app is served counts while the app lives, and as it is now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import athanore
from athanore.launch.serving import find_serving, serving
from athanore.models import Comment, Task
from athanore.services.views import (
    DeadLetter,
    Kind,
    NeedsPerson,
    Overview,
    WholeTask,
    read_view,
)
from athanore.texts import as_json
from tests.support import wait_until

PREFECT = "http://127.0.0.1:4200/api"


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
