"""`make bench` measures what it says: tried with tiny sizes, and without a look at the times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOME = ["requests", "board", "events", "cli", "issues", "fleet"]


@pytest.mark.timeout(600)
@pytest.mark.nightly
def test_a_tiny_bench_fills_its_table(prefect_api: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    chosen = ["--only", ",".join(SOME[:2]), "--only", ",".join(SOME[2:])]
    command = [sys.executable, "-m", "bench", "--tiny", "--prefect", prefect_api, *chosen]
    done = subprocess.run(
        [*command, "--json", str(figures)],
        cwd=ROOT, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert "Not measured" not in done.stdout, done.stdout + done.stderr
    found = json.loads(figures.read_text())["rows"]
    rows = {row["key"]: row for row in found}
    assert list(rows) == SOME
    per_run = rows["requests"]["figures"]["per_run"]
    assert per_run["POST /flow_runs/{id}/set_state"] >= 3  # Pending, Running, and the end
    assert len(rows["events"]["figures"]["seconds"]) == 3
    assert rows["board"]["figures"]["seconds_by_tasks"].keys() == {"10", "20"}
    commands = rows["cli"]["figures"]["seconds"]
    assert list(commands) == ["status", "tasks", "show", "logs", "routes", "pause", "resume"]
    issues = [row["figures"] for row in found if row["key"] == "issues"]
    assert len(issues) == 6
    for polls in issues:
        assert polls["unchanged"][0] <= polls["first"][0]
    start, cost, waiting, good, growth = (row["figures"] for row in found if row["key"] == "fleet")
    assert 0 < start["first_seconds"] <= start["all_seconds"]
    assert cost["longest_poll_seconds"] > 0
    assert sum(cost["agents_of_workers"]) == 9  # 8, and the one that came meanwhile
    assert waiting["worker_mb"] > 10
    assert (good["lost"], good["overlaps"], good["often"]) == (0, 0, 0)
    assert [agents for agents, _ in growth["points"]] == [4, 8]


def test_a_row_that_is_unknown_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "board,speed"],
        cwd=ROOT, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 2
    assert "invalid choice: 'speed'" in done.stderr
