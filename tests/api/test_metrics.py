"""GET /metrics, the sums in GET /status, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from athanore import AgentOutcome, AgentResult
from athanore.runs.records.run_log import RunLog
from tests.api.rig import Api
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deployments" / "grafana" / "athanore.json"
USAGE = {"cost_usd": 0.25, "input_tokens": 100, "output_tokens": 7, "session_id": "s"}


def read(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = api.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def record(api: Api, run_id: str, cost: float | None, *, starts: bool = False) -> None:
    """Note what an attempt used, as the flow does; `starts`: after another start."""

    async def work(client: object) -> None:
        from athanore.runs.prefect_store import PrefectRunStore

        assert isinstance(client, PrefectRunStore)
        run = await client.read_flow_run(run_id)  # pyright: ignore[reportArgumentType]
        log = RunLog(client, run, api.dispatcher.routes["Todo"].retry)
        if starts:
            await log.open("", "a token")
        told = {**USAGE, "cost_usd": cost, "agent": "a"}
        usage = {kind: amount for kind, amount in told.items() if amount is not None}
        await log.ended(AgentResult(AgentOutcome.SUCCEEDED, "", usage=usage))
        await log.leave()  # which the flow's, that knows its start, does in the same write

    api.with_prefect(work)


def test_what_runs_came_to_is_counted_once(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it")
    before = read(api)
    assert before["athanore_prefect_up", ()] == before["athanore_board_up", ()] == 1
    assert before["athanore_tasks", (("queue", "Todo"),)] == 1
    assert before["athanore_agent_slots", ()] == 3
    cost = api.get("/status")["last_day"]["cost_usd"]

    run_id, _ = api.start_run(task.id)
    at_work = ("athanore_runs", (("phase", "working"), ("route", "Todo")))
    assert read(api)[at_work] == before[at_work] + 1
    record(api, run_id, 0.25)
    api.end_run(run_id)

    completed = ("athanore_runs_finished_total", (("route", "Todo"), ("state", "completed")))
    wait_until("the run is counted", lambda: read(api).get(completed, 0) >= 1)
    after = read(api)
    assert after[at_work] == before[at_work]
    assert after["athanore_run_seconds_count", (("route", "Todo"),)] == after[completed]
    assert after["athanore_usage_total", (("kind", "cost_usd"),)] == 0.25
    last_day = api.get("/status")["last_day"]
    assert last_day["cost_usd"] == round(cost + 0.25, 6)
    assert last_day["output_tokens"] >= 7
    assert read(api)[completed] == after[completed], "a run is counted once"


def test_attempts_of_a_run_are_summed_and_repeats_are_not(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it")
    run_id, _ = api.start_run(task.id)
    record(api, run_id, 0.25)
    record(api, run_id, 0.25)  # the same attempt, said again
    labels = api.prefect.run(task.id)["labels"]
    assert (labels["athanore.usage.cost_usd"], labels["athanore.usage.session_id"]) == (0.25, "s")
    running = {"state": {"type": "RUNNING"}, "force": True}
    for state in ({"state": {"type": "SCHEDULED"}, "force": True}, running):
        api.prefect.post(f"/flow_runs/{run_id}/set_state", state)
    record(api, run_id, 0.5, starts=True)
    assert api.prefect.run(task.id)["labels"]["athanore.usage.cost_usd"] == 0.75
    api.end_run(run_id)


def test_costs_say_what_is_known_and_of_what_nobody_knows(api: Api) -> None:
    measured, other = (api.board.create_task("Todo", name) for name in ("Fix it", "Mend it"))
    run_id, _ = api.start_run(measured.id)
    record(api, run_id, 0.25)
    api.end_run(run_id)
    run_id, _ = api.start_run(other.id)
    record(api, run_id, None)
    api.end_run(run_id)

    report = api.get("/costs?by=task&days=1")
    rows = {row["key"]: row for row in report["rows"]}
    assert report["done"] + report["given_up"] >= 2
    assert rows[measured.id]["seconds"] >= 0
    assert (rows[measured.id]["cost_usd"], rows[measured.id]["unmeasured"]) == (0.25, 0)
    assert (rows[other.id]["cost_usd"], rows[other.id]["unmeasured"]) == (None, 1)
    assert rows[other.id]["output_tokens"] == 7
    api.get("/costs?by=nonsense", status=422)
    api.get("/costs?days=0", status=422)
    counted = ("athanore_unmeasured_attempts_total", (("agent", "a"), ("route", "Todo")))
    wait_until("it is counted", lambda: read(api).get(counted, 0) >= 1)


def test_without_prefect_and_board_they_say_so(lonely: Api, tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text("{")
    seen = read(lonely)
    assert seen["athanore_prefect_up", ()] == seen["athanore_board_up", ()] == 0
    assert lonely.get("/status")["last_day"] is None


def test_the_dashboard_asks_for_what_there_is(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it")
    run_id, _ = api.start_run(task.id)
    record(api, run_id, 0.25)
    api.end_run(run_id)
    wait_until("the run is counted", lambda: "athanore_usage_total" in {n for n, _ in read(api)})
    there = {name for name, _ in read(api)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = re.findall(r"athanore_\w+", json.dumps([p["targets"] for p in panels]))
    # Queues for dead letters are a route's to name; this app has none.
    assert set(asked) - there == {"athanore_dead_letters"}
