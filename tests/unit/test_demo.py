"""The demo opens a browser only where somebody sees it."""

from __future__ import annotations

import pytest

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
