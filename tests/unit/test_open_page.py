"""`athanore open`: the board page of the app that runs here."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from athanore.cli import main
from athanore.launch.serving import serving


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser is told to open, in a folder with an app."""
    found: list[str] = []
    monkeypatch.setattr(webbrowser, "open", found.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "run.py").write_text("")
    return found


def given(*words: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return exit_.value.code


@pytest.mark.parametrize("is_ready", [True, False], ids=["at work", "starting"])
def test_it_opens_the_page_and_says_where_it_is(
    opened: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], is_ready: bool
) -> None:
    address, script = ("0.0.0.0", 4711), tmp_path / "run.py"
    with serving(
        "run.py:dispatcher", script, address, "http://x", needs_token=False, is_ready=is_ready
    ):
        assert given("open") == 0
        assert given("open", "--print") == 0
    assert capsys.readouterr().out.splitlines() == ["http://127.0.0.1:4711"] * 2
    assert opened == ["http://127.0.0.1:4711"]  # not by --print


def test_an_app_that_does_not_run_has_no_page(
    opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert given("open") == 2
    assert "run.py:dispatcher does not run on this machine" in capsys.readouterr().err
    assert opened == []
