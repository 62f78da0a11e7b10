"""Settings from outside, and who wins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from athanore import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.settings import Settings

ROOT = Path(__file__).parents[2]


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


VARIABLES = [f"ATHANORE_{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_an_empty_variable_is_unset(
    name: str, where: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = AgentDispatcher().settings
    if where == ".env":
        (elsewhere / ".env").write_text(f"{name}=\n")
    else:
        monkeypatch.setenv(name, "")
    assert AgentDispatcher().settings == unset


@pytest.mark.parametrize("name", ["api_key", "webhook_token"])
@pytest.mark.parametrize("value", ["secret-123\n", "secret-123\r\n", " secret-123\t"])
def test_blanks_and_newlines_round_a_secret_are_cut(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ATHANORE_{name.upper()}", value)
    settings = AgentDispatcher().settings
    assert getattr(settings, name).get_secret_value() == "secret-123"
    assert (settings.signing_key or b"secret-123") == b"secret-123"


@pytest.mark.parametrize("name", ["api_key", "webhook_token"])
def test_a_secret_of_blanks_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ATHANORE_{name.upper()}", " \n")
    assert getattr(AgentDispatcher().settings, name) is None


WRONG = {
    "ATHANORE_POLL_INTERVAL": "soon",
    "ATHANORE_AGENT_TIMEOUT": "-1",
    "ATHANORE_MAX_CONCURRENT_AGENTS": "0",
    "ATHANORE_ENABLE_QUEUE_MANAGEMENT": "perhaps",
    "ATHANORE_API_PORT": "70000",
    "ATHANORE_API_AUTH": "password",
    "ATHANORE_WEBHOOK_TOKEN": "short",
    "ATHANORE_LOG_FORMAT": "xml",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_names_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(ConfigurationError) as caught:
        AgentDispatcher()
    secret = name == "ATHANORE_WEBHOOK_TOKEN"
    assert str(caught.value).startswith(f"{name}={'...' if secret else repr(WRONG[name])}: ")
    assert not secret or WRONG[name] not in str(caught.value)


def test_a_wrong_argument_names_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_POLL_INTERVAL", "soon")
    with pytest.raises(ConfigurationError, match=r"^api_port=-1: "):
        AgentDispatcher(api_port=-1, poll_interval=1)


def _script(folder: Path, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "run.py").write_text(text)
    return subprocess.run(
        [sys.executable, "run.py"], cwd=folder, env={"PYTHONPATH": str(ROOT), **env},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


def test_a_script_tells_a_wrong_value_in_one_line(elsewhere: Path) -> None:
    text = "from athanore import AgentDispatcher\nAgentDispatcher()\nraise KeyError('own')\n"
    found = _script(elsewhere, text, ATHANORE_AGENT_TIMEOUT="1h")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("athanore: ATHANORE_AGENT_TIMEOUT='1h': ")
    assert len(found.stderr.splitlines()) == 1
    other = _script(elsewhere, text, ATHANORE_AGENT_TIMEOUT="")
    assert other.returncode == 1
    assert "Traceback" in other.stderr and "KeyError: 'own'" in other.stderr
