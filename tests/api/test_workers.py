"""The endpoints of workers."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from athanore import names
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import OPERATOR
from tests.api.rig import Api, bearer


@pytest.fixture
def worker(api: Api) -> WorkerEntry:
    """A worker that lives, as it has said itself."""
    app = api.app
    pool = names.agents_pool(app.name)
    started = app.clock.now() - timedelta(minutes=5)
    name, labels = "mac-1-ab", ("macos", "big")
    entry = WorkerEntry(name, f"{name} {pool}", "mac", started, labels, 4, version="3f2c")

    async def announce() -> None:
        async with PrefectRunStore(api.prefect.url) as client:
            await client.send_worker_heartbeat(pool, entry.pool_name, 30)
            await fleet.announce(client, app.name, entry)

    asyncio.run(announce())
    return entry


def test_a_worker_is_drained_by_its_host_or_the_beginning_of_its_name(
    api: Api, worker: WorkerEntry
) -> None:
    def seen() -> tuple[str, str]:
        (found,) = [w for w in api.get("/workers") if w["name"] == worker.name]
        (in_status,) = [w for w in api.get("/status")["workers"] if w["name"] == worker.name]
        assert {**in_status, "last_seen": None} == {**found, "last_seen": None}
        assert (found["host"], found["labels"], found["limit"]) == ("mac", ["macos", "big"], 4)
        return found["state"], found["says"]

    assert seen() == ("ready", "")
    for name in ("mac", "mac-1", worker.name):
        assert api.post(f"/workers/{name}/drain", {"then_exit": True}, 200) == {
            "workers": [worker.name]
        }
        assert seen() == ("drained", "asked for by the task API; it ends when it is empty")
        assert api.post(f"/workers/{name}/resume", {}, 200) == {"workers": [worker.name]}
        assert seen() == ("ready", "")


def test_a_worker_that_is_not_there_is_named(api: Api, worker: WorkerEntry) -> None:
    problem = api.post("/workers/box/drain", {}, 404)
    assert worker.name in problem["existing"]
    assert "No worker that lives is called 'box'" in problem["detail"]


def test_an_agent_empties_no_worker(guarded: Api) -> None:
    _, token = guarded.start_run(guarded.board.create_task("Todo", "Fix it").id)
    for verb in ("drain", "resume"):
        guarded.post(f"/workers/any/{verb}", {}, 403, headers=bearer(token))
        guarded.post(f"/workers/any/{verb}", {}, 404, headers=bearer(OPERATOR))


def test_prometheus_reads_how_full_a_worker_is(api: Api, worker: WorkerEntry) -> None:
    who = f'{{host="mac",worker="{worker.name}"}}'
    text = api.http.get("/metrics").text
    assert f"athanore_worker_agents{who} 0.0" in text
    assert f"athanore_worker_agent_limit{who} 4.0" in text
    assert f"athanore_worker_clock_offset_seconds{who} 0.0" in text
    assert f'athanore_worker_state{{host="mac",state="ready",worker="{worker.name}"}} 1.0' in text
    info = f'{{host="mac",labels="macos,big",version="3f2c",worker="{worker.name}"}}'
    assert f"athanore_worker_info{info} 1.0" in text
    (seen,) = [w["last_seen"] for w in api.get("/workers") if w["name"] == worker.name]
    told = float(text.partition(f"athanore_worker_last_seen_seconds{who} ")[2].split()[0])
    assert abs(told - datetime.fromisoformat(seen).timestamp()) < 60
    api.post(f"/workers/{worker.name}/drain", {}, 200)
    text = api.http.get("/metrics").text
    assert f'athanore_worker_state{{host="mac",state="drained",worker="{worker.name}"}} 1.0' in text
    assert f'state="ready",worker="{worker.name}"' not in text
    api.post(f"/workers/{worker.name}/resume", {}, 200)
