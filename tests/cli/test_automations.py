"""`athanore automations`: showing, creating, deleting."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore

from tests.cli.rig import Cli, write_script
from tests.harness import app_name
from tests.support import LOCAL

KINDS = {"dead letter", "paused route", "no worker", "late run", "lost run"}


def test_they_are_shown_created_and_deleted(
    cli: Cli, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = app_name("cli")
    write_script(tmp_path, name)
    monkeypatch.chdir(tmp_path)

    def there() -> set[str]:
        found = LOCAL.post(f"{prefect_api}/automations/filter", json={}, timeout=60).json()
        return {a["name"] for a in found if f"app:{name}" in a["tags"]}

    named = {f"{name}: {kind}" for kind in KINDS}
    shown = yaml.safe_load(cli.ok("automations", "--late-after", "45").out)["automations"]
    # As `prefect automation create --from-file` reads them.
    read = {a["name"]: AutomationCore.model_validate(a) for a in shown}
    assert set(read) == named
    assert "45 minutes" in read[f"{name}: late run"].description
    assert there() == set()

    assert cli.ok("automations", "--create").out.count("created") == len(KINDS)
    assert there() == named
    assert cli.ok("automations", "--create").out.count("renewed") == len(KINDS)
    assert there() == named
    assert cli.ok("automations", "--delete").out.count("deleted") == len(KINDS)
    assert there() == set()
    assert "nothing to change" in cli.ok("automations", "--delete").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--notify", "slack-webhook/nope"], "Prefect has no block 'slack-webhook/nope'"),
        (["--notify", "nope"], "Prefect has no block 'nope'"),
        (["--create", "--delete"], "Say either --create or --delete."),
        (["--lost-after", "5"], "a heartbeat every 180 s"),
    ],
)
def test_mistakes_are_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    write_script(tmp_path, app_name("cli"))
    monkeypatch.chdir(tmp_path)
    refused = cli("automations", *words)
    assert refused.code == 2
    assert message in refused.err
