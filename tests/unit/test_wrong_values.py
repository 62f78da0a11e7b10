"""A mistake in a script or in the environment is one line that names it, and not a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.errors import ConfigurationError
from athanore.http_client.proxies import proxy_for

SCRIPT = """
from athanore import AgentDispatcher, MemoryAdapter
board = MemoryAdapter(["Todo"])
dispatcher = AgentDispatcher(name="wrong", command="true", queue_backend=board)
@dispatcher.route("Todo"{options})
def work(task_id, task_name): return task_name
"""
ABSENT = "http://127.0.0.1:9/api"
ROOT = str(Path(__file__).parents[2])

UNKNOWN: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "an argument": (
        AgentDispatcher,
        {"max_retrys": 3},
        "no option max_retrys=; did you mean max_re",
    ),
    "a near one": (AgentDispatcher, {"poll_intervall": 3}, "did you mean poll_interval=?"),
    "one that needs no setting": (AgentDispatcher, {"nam": "x"}, "did you mean name=?"),
    "nothing like it": (AgentDispatcher, {"xyzzy": 3}, "there are agent_timeout, api_host, "),
    "an option": (
        AgentDispatcher().route,
        {"max_retrys": 3},
        "A route has no option max_retrys=; did you",
    ),
    "an option's near one": (AgentDispatcher().route, {"time_out": 3}, "did you mean timeout=?"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_option_is_named_with_the_one_that_may_be_meant(name: str) -> None:
    function, options, says = UNKNOWN[name]
    with pytest.raises(ConfigurationError) as caught:
        function(**options)
    assert says in str(caught.value)


ENVIRONMENTS = [
    ({"PREFECT_SERVER_API_PORT": ""}, "No Prefect server answers|cannot answer|answers at"),
    ({"PREFECT_CLIENT_CUSTOM_HEADERS": " "}, "answers at"),
    ({"PREFECT_API_KEY": "", "PREFECT_LOGGING_LEVEL": ""}, "answers at"),
    ({"PREFECT_SERVER_API_PORT": "x"}, "PREFECT_SERVER_API_PORT='x': Input should be a valid int"),
    ({"PREFECT_CLIENT_CUSTOM_HEADERS": "x: y"}, "PREFECT_CLIENT_CUSTOM_HEADERS='...': it must be"),
]


@pytest.mark.parametrize(("environment", "says"), ENVIRONMENTS)
def test_a_variable_of_prefects_that_is_wrong_is_named_and_an_empty_one_is_unset(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "run.py").write_text(SCRIPT.format(options=""))
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_API_URL": ABSENT}
    base["PYTHONPATH"] = ROOT  # this tree, also where a copy of it is tested
    done = subprocess.run(
        [sys.executable, "-c", "from athanore.cli import main; main(['status'])"],
        cwd=tmp_path,
        env={**base, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *_, line = done.stderr.splitlines()  # Prefect says something of its own before it
    assert any(part in line for part in says.split("|")), line


def test_a_socks_proxy_without_its_package_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@proxy.example:1080")
    monkeypatch.setenv("all_proxy", "socks5://me:secret@proxy.example:1080")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        proxy_for("https://planka.example")
    assert "socks5://proxy.example:1080 is a SOCKS proxy" in str(caught.value)
    assert "`pip install socksio`" in str(caught.value)
    assert proxy_for("http://127.0.0.1:4200/api") is None


def test_a_script_with_an_unknown_option_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(SCRIPT.format(options=", max_retrys=3"))
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "athanore: A route has no option max_retrys=; did you mean max_retries=?\n"
    )


def test_the_dispatcher_takes_all_that_it_names() -> None:
    AgentDispatcher(
        name="all", max_crashes=1, default_agent=None, queue_backend=MemoryAdapter(["Todo"])
    )
