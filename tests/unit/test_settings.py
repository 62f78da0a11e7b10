"""Settings from outside, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import AgentDispatcher
from athanore.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder: a `.env` of somebody's clone must not count."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_gives_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_POLL_INTERVAL", "2.5")
    monkeypatch.setenv("ATHANORE_DEAD_LETTER_QUEUE", "Failed")
    dispatcher = AgentDispatcher()
    assert dispatcher.settings.poll_interval == 2.5
    assert dispatcher.settings.dead_letter_queue == "Failed"


def test_an_argument_wins_even_if_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_POLL_INTERVAL", "5")
    monkeypatch.setenv("ATHANORE_AGENT_TIMEOUT", "60")
    dispatcher = AgentDispatcher(poll_interval=7, agent_timeout=None)
    assert dispatcher.settings.poll_interval == 7
    assert dispatcher.settings.agent_timeout is None


def test_the_environment_wins_over_a_dotenv_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("ATHANORE_COMMAND=a\nATHANORE_API_PORT=1\nOTHER=x\n")
    monkeypatch.setenv("ATHANORE_COMMAND", "b")
    settings = AgentDispatcher().settings
    assert (settings.command, settings.api_port) == ("b", 1)


def test_the_operators_key_shows_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_API_KEY", "k3y-of-operators")
    settings = AgentDispatcher().settings
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "k3y-of-operators"
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("agents.example", "http://agents.example:8000"),
    ],
)
def test_agents_are_told_an_address_that_they_can_reach(bound: str, told: str) -> None:
    assert Settings().agent_api_url(bound, 8000) == told  # pyright: ignore[reportCallIssue]


def test_agents_are_told_the_address_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_API_URL", "https://proxy.example/athanore/")
    assert AgentDispatcher().settings.agent_api_url("::", 1) == "https://proxy.example/athanore"
