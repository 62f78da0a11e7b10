"""What docs/deploying.md says of commands and options is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from athanore.cli import make_app
from tests.cli.rig import Cli

PAGE = (Path(__file__).parents[2] / "docs/deploying.md").read_text()


def commands() -> list[str]:
    """Every command that the page writes, with its options."""
    found = re.findall(r"(?m)^    (athanore .*)$", PAGE) + re.findall(r"`(athanore [^`]+)`", PAGE)
    return sorted(set(found))


def test_the_page_names_every_command() -> None:
    named = {shlex.split(c)[1] for c in commands()}
    there = {name for name in make_app() if not name.startswith("-")}
    assert named == there


@pytest.mark.parametrize("command", commands())
def test_options_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *rest = shlex.split(command.replace("[", " ").replace("]", " "))
    shown = Cli("http://127.0.0.1:1/api", capsys).ok(name, "--help").out
    for word in rest:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}\b", shown), f"{name} has no {word}"
