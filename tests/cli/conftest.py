"""The command line in the test's own process."""

from __future__ import annotations

import pytest

from tests.cli.rig import Cli


@pytest.fixture
def cli(prefect_api: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Gives commands against the session's Prefect."""
    return Cli(prefect_api, capsys)
