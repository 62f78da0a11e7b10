"""`athanore init` on a terminal: one question at a time, and what is missing is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from athanore.cli import main
from athanore.cli.setup import asking, starting
from athanore.cli.setup.agent_choice import AGENTS, BUILT_IN, missing, proposed_agent

type Answers = Callable[..., list[str]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answers:
    """Has somebody sit at the terminal and give these answers; returns the questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def give(*said: str) -> list[str]:
        questions: list[str] = []
        left = list(said)

        def read(question: str) -> str:
            questions.append(question)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr(starting, "is_there_somebody", lambda: True)
        monkeypatch.setattr("builtins.input", read)
        return questions

    return give


def given(*words: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return exit_.value.code


def test_enter_takes_what_is_proposed(answers: Answers, tmp_path: Path) -> None:
    questions = answers("", "", "")
    assert given("init", "hello") == 0
    assert [q.rpartition(" [")[2] for q in questions] == ["own]: ", "json]: ", "hello]: "]
    assert 'name="hello"' in (tmp_path / "hello" / "run.py").read_text()
    assert (tmp_path / "hello" / "agent.py").exists()


def test_what_is_wrong_is_asked_again_and_what_is_said_is_not_asked(
    answers: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = answers("9", "mainframe", "2", "a/b", "prefect-app", "lab")
    assert given("init", "x y", "--board", "json") == 0
    assert len(questions) == 6
    out = capsys.readouterr().out
    assert "'mainframe' is none of them" in out and "'a/b' is no name for an app" in out
    assert "Claude Code (not installed)" in out
    assert "'claude' is not on the PATH yet" in out
    assert out.rstrip().endswith("cd 'x y' && python run.py")
    script = (tmp_path / "x y" / "run.py").read_text()
    assert 'name="lab"' in script and 'CliAgentAdapter("claude"' in script


def test_who_ends_the_input_has_nothing_written(answers: Answers, tmp_path: Path) -> None:
    answers("1")
    assert given("init", "hello") == 2
    assert not (tmp_path / "hello").exists()


def test_a_name_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert given("init", "--name", 'a"b') == 2
    assert list(tmp_path.iterdir()) == []
    assert not asking.is_there_somebody()


def test_a_folder_that_cannot_be_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "a" * 300
    assert given("init", folder) == 2
    err = capsys.readouterr().err
    assert err == f"athanore: {folder} cannot be written: File name too long.\n"


def test_the_installed_agent_is_proposed_and_its_login_looked_for(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers()
    assert proposed_agent() == "own"
    assert all(missing(agent) for agent in AGENTS if agent not in BUILT_IN)
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert proposed_agent() == "claude"
    monkeypatch.setattr("sys.platform", "linux")
    says = missing("claude")
    assert says is not None and "no login of it is seen" in says and "ANTHROPIC_API_KEY" in says
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert missing("claude") is None
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    assert missing("claude") is None
