"""What an agent's process inherits, and what it must never see."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from athanore import MemoryAdapter, Route, Task
from athanore.runtime.secrets.environment import (
    agent_environment,
    board_secrets,
    is_secret,
    known_secrets,
)
from athanore.runtime.secrets.inheritance import OF_THE_LAUNCHER, WITHOUT_TERMINAL
from athanore.runtime.secrets.redaction import Redactor

TASK = Task(id="7", name="Fix\0 crash", queue_name="In Progress")


class BoardWithToken(MemoryAdapter):
    """A board whose credentials stand in the environment."""

    secret_env = frozenset({"BOARD_TOKEN"})


def prompt(task_id: str, task_name: str) -> str:
    return ""


def environment(route: Route | None = None, **base: str) -> dict[str, str]:
    return agent_environment(
        route or Route("Todo", prompt), TASK, attempt=2, api_url="http://here", token="ath_1",
        secrets=board_secrets(BoardWithToken()), base=base,
    )  # fmt: skip


def test_an_agent_learns_where_it_is() -> None:
    assert environment() == {
        "ATHANORE_API_URL": "http://here",
        "ATHANORE_TASK_ID": "7",
        "ATHANORE_TASK_NAME": "Fix crash",
        "ATHANORE_QUEUE": "Todo",
        "ATHANORE_ATTEMPT": "2",
        "ATHANORE_TOKEN": "ath_1",
        **WITHOUT_TERMINAL,
    }


def test_the_rest_is_inherited() -> None:
    assert environment(HOME="/home/me", GH_TOKEN="t")["GH_TOKEN"] == "t"


@pytest.mark.parametrize(
    "name",
    [
        "BOARD_TOKEN",
        "ATHANORE_API_KEY",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_SERVER_API_AUTH_STRING",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_API_DATABASE_PASSWORD",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_CLIENT_CUSTOM_HEADERS",
    ],
)
def test_secrets_are_left_out(name: str) -> None:
    assert name not in environment(None, **{name: "s3cret"})


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_HOME", "ATHANORE_APP", "PATH"])
def test_what_is_no_secret_is_none(name: str) -> None:
    assert not is_secret(name, board_secrets(BoardWithToken()))


def test_the_workers_own_token_is_not_handed_on() -> None:
    assert environment(ATHANORE_TOKEN="of another run")["ATHANORE_TOKEN"] == "ath_1"
    without = agent_environment(
        Route("Todo", prompt), TASK, attempt=1, api_url="http://here",
        base={"ATHANORE_TOKEN": "of another run"},
    )  # fmt: skip
    assert "ATHANORE_TOKEN" not in without


def test_a_route_may_set_anything() -> None:
    route = Route("Todo", prompt, env={"PREFECT_API_KEY": "on purpose", "X": "y"}, cwd=Path("/"))
    env = environment(route, PREFECT_API_KEY="s3cret")
    assert (env["PREFECT_API_KEY"], env["X"]) == ("on purpose", "y")


def test_short_values_are_not_taken_for_secrets_to_redact() -> None:
    base = {"BOARD_TOKEN": "long enough", "PREFECT_API_KEY": "short", "HOME": "/home/somebody"}
    clean = Redactor({*known_secrets(board_secrets(BoardWithToken()), base), "app"})
    assert clean.text("Add app icon: short, long enough") == "Add app icon: short, [redacted]"
    assert clean.value({"app": "app"}) == {"app": "app"}


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_UI_URL", "PLANKA_URL"])
def test_a_login_in_an_address_of_ours_is_not_handed_on(name: str) -> None:
    base = {name: "https://me:long%20enough@x.example/api"}
    assert environment(None, **base)[name] == "https://x.example/api"
    assert known_secrets((), base) == {"long%20enough", "long enough"}


@pytest.mark.parametrize("proxy", ["http://me:long-enough@proxy:1", "me:long-enough@proxy:1"])
def test_the_password_of_a_proxy_is_a_secret_that_agents_need(proxy: str) -> None:
    assert environment(None, HTTPS_PROXY=proxy)["HTTPS_PROXY"] == proxy
    assert known_secrets((), {"HTTPS_PROXY": proxy}) == {"long-enough"}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ({"http_proxy": "http://proxy:1"}, "localhost,127.0.0.1,::1"),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "corp.example"},
         "corp.example,localhost,127.0.0.1,::1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1, a"}, "127.0.0.1,a,localhost,::1"),
        ({"http_proxy": "http://p:1", "NO_PROXY": "*"}, "*"),
    ],
)  # fmt: skip
def test_a_proxy_is_not_asked_for_this_machine(base: dict[str, str], expected: str) -> None:
    env = environment(None, **base)
    assert {env["no_proxy"], env["NO_PROXY"]} == {expected}


def test_a_proxy_of_the_routes_own_is_not_asked_for_this_machine_either() -> None:
    route = Route("Todo", prompt, env={"http_proxy": "http://p:1", "no_proxy": "a"})
    assert environment(route)["NO_PROXY"] == "a,localhost,127.0.0.1,::1"


def test_without_a_proxy_nothing_is_added() -> None:
    assert "no_proxy" not in environment(None, http_proxy="", HOME="/home/me")


LAUNCHERS = [
    "PWD", "OLDPWD", "DIRENV_DIFF",
    "GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_KEY_0", "GIT_AUTHOR_DATE",
    "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_SESSION_ID",
    "CODEX_SANDBOX_NETWORK_DISABLED",
    "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX",
    "COLORTERM", "COLUMNS", "TERM_PROGRAM", "TMUX", "TMUX_PANE", "STY", "VSCODE_IPC_HOOK_CLI",
    "EDITOR", "GIT_EDITOR", "FORCE_COLOR", "CLICOLOR_FORCE",
    "SHLVL", "SSH_TTY", "SSH_CONNECTION",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "LISTEN_FDS", "MAKEFLAGS", "npm_lifecycle_event",
]  # fmt: skip


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_tells_of_the_launcher_is_not_inherited(name: str) -> None:
    assert name not in environment(None, **{name: "the launcher's"})
    route = Route("Todo", prompt, env={name: "on purpose"})
    assert environment(route, **{name: "the launcher's"})[name] == "on purpose"


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "DISPLAY",
        "XDG_RUNTIME_DIR", "GIT_AUTHOR_NAME", "GIT_SSH_COMMAND", "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CONFIG_DIR", "PYTHONUNBUFFERED", "NODE_OPTIONS",
        "NVM_DIR", "ANTHROPIC_API_KEY", "ATHANORE_CLAUDE_CONFIG",
    ],
)  # fmt: skip
def test_what_tells_of_the_machine_is_inherited(name: str) -> None:
    assert environment(None, **{name: "the machine's"})[name] == "the machine's"


def test_what_says_that_there_is_no_terminal_replaces_what_said_that_there_is_one() -> None:
    assert environment(TERM="xterm-256color", PAGER="less").items() >= WITHOUT_TERMINAL.items()
    route = Route("Todo", prompt, env={"TERM": "xterm", "NO_COLOR": ""})
    env = environment(route)
    assert (env["TERM"], env["NO_COLOR"]) == ("xterm", "")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_all_that_git_calls_local_to_a_repository_is_left_out() -> None:
    asked = ["git", "rev-parse", "--local-env-vars"]
    local = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert "GIT_DIR" in local
    assert not set(local) & set(environment(None, **dict.fromkeys(local, "x")))


def test_each_variable_stands_in_one_place() -> None:
    listed = [name for names in OF_THE_LAUNCHER.values() for name in names]
    assert len(listed) == len(set(listed))
