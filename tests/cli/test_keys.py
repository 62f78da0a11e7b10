"""`athanore key`, and what doctor says of keys that agents can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.rig import Cli, write_script


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", "operators-key-of-the-test")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_script(tmp_path, f"keys-{tmp_path.parent.name[-8:]}-{tmp_path.name[:20]}")
    return "run.py:dispatcher"


def test_a_key_is_made_shown_once_listed_and_revoked(cli: Cli, app: str) -> None:
    said = cli.ok("key", "create", "--read", "--name", "laptop", "--app", app).out
    assert "laptop, read" in said and "/mcp" in said
    key = next(line for line in said.splitlines() if line.startswith("ath_key_"))
    again = cli("key", "create", "--steer", "--name", "laptop", "--app", app)
    assert again.code == 2 and "There is a key 'laptop'" in again.err
    (shown,) = cli.ok("key", "list", "--json", "--app", app).json
    assert (shown["name"], shown["scope"], shown["id"]) == ("laptop", "read", key.split("_")[2])
    table = cli.ok("key", "list", "--app", app).out
    assert "laptop" in table and key not in table
    assert "laptop" in cli.ok("key", "revoke", "laptop", "--app", app).out
    gone = cli("key", "revoke", "laptop", "--app", app)
    assert gone.code == 2 and "There is no key 'laptop'; there are: none." in gone.err
    assert cli.ok("key", "list", "--json", "--app", app).json == []


def test_what_a_key_may_do_is_said(cli: Cli, app: str) -> None:
    for options in ([], ["--read", "--steer"]):
        wrong = cli("key", "create", *options, "--app", app)
        assert wrong.code == 2 and "--read, or --steer" in wrong.err
    assert "1 to 100" in cli("key", "create", "--read", "--name", " ", "--app", app).err


def test_an_open_api_asks_for_no_key(cli: Cli, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", "open")
    refused = cli("key", "create", "--read", "--app", app)
    assert refused.code == 2 and "ATHANORE_API_AUTH=token" in refused.err


def test_doctor_warns_of_a_key_where_agents_can_read_it(cli: Cli, app: str, tmp_path: Path) -> None:
    assert "where agents can read it" not in cli("doctor", app).out
    key = f"ath_key_0123abcd_{'x' * 43}"
    (tmp_path / ".claude.json").write_text(f'{{"mcpServers": {{"a": "Bearer {key}"}}}}')
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text('token = "operators-key-of-the-test"')
    said = " ".join(cli("doctor", app).out.split())
    assert ".claude.json" in said and "config.toml" in said and "where agents can read it" in said
    assert key not in said
