"""A short play of the chaos suite (`make chaos` is the long one)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from chaos import play
from chaos.site import Site
from chaos.storm import Storm
from tests import postgres

SEED = "2"
"""With this one it is the worker on this host that is killed: the loss of another is seen later."""


@pytest.mark.timeout(900)
@pytest.mark.nightly
def test_a_killed_worker_and_server_leave_nothing_lost_doubled_or_stuck(tmp_path: Path) -> None:
    postgres.require()  # on SQLite the server needs minutes for this
    with postgres.database() as url, closing(Site(tmp_path / "site", SEED, 6, url)) as site:
        weather = Storm(site, SEED)
        verdict = play.strikes(site, weather, ["worker killed", "server killed"])
    assert verdict.violations == []
    assert weather.happened == {"worker killed": 1, "server killed": 1}
    assert verdict.figures["Done"] + verdict.figures["Failed"] == 6
    assert verdict.figures["agents started"] >= 12
