"""The demo opens a browser only where somebody sees it, and has a repository where git is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from athanore.launch.demo import repository
from athanore.launch.demo.files import script
from athanore.launch.demo.show import has_desktop


@pytest.mark.parametrize(
    ("platform", "variables", "is_there"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"DISPLAY": ":0", "SSH_CONNECTION": "1"}, False),
        ("darwin", {}, True),
        ("darwin", {"CI": "true"}, False),
    ],
)
def test_a_browser_is_opened_on_a_desktop(
    platform: str, variables: dict[str, str], is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert has_desktop() is is_there


def test_the_app_of_the_demo_has_a_repository_where_there_is_git() -> None:
    for with_git in (True, False):
        text = script(with_git=with_git)
        ast.parse(text)
        for word in ("GitWorkspace", "publish", "of its own"):
            assert (word in text) is with_git


def test_the_repository_of_the_demo_begins_with_a_commit_and_no_branch(tmp_path: Path) -> None:
    repository.make(tmp_path)
    assert (tmp_path / "toy.git" / "refs" / "heads" / "main").exists()
    assert repository.branches(tmp_path) == []
    assert repository.branches(tmp_path / "elsewhere") == []
