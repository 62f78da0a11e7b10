"""The automations that are shipped: a real Prefect acts on them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.schemas.sorting import AutomationSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.scripted import Fail, ScriptedAgent
from athanore.deployments import automations
from athanore.deployments.automations import Patience
from athanore.errors import ConfigurationError
from athanore.runs.connection.transports import prefect_client
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.conftest import dispatcher
from tests.api.rig import served
from tests.harness import Prefect, app_name, prompt, running
from tests.support import LOCAL, prefect_server, wait_until

HEARTBEAT_EVERY = timedelta(seconds=180)

type Told = list[tuple[str, str]]


@pytest.fixture
def told() -> Iterator[tuple[str, Told]]:
    """A web hook: its address, and the subjects and bodies that it was sent."""
    messages: Told = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages.append((sent["subject"], sent["body"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/", messages
        server.shutdown()


@pytest.fixture
def own_prefect(tmp_path: Path) -> Iterator[str]:
    """A server without the events of other tests: automations fall behind on a busy one."""
    with prefect_server(tmp_path / "prefect") as url:
        yield url


def with_prefect(
    prefect_api: str, work: Callable[[PrefectRunStore], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        async with prefect_client() as client:
            await work(client)

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        asyncio.run(main())


def install(prefect_api: str, app: str, patience: Patience, url: str) -> None:
    """Create an app's automations, which tell a web hook."""
    name = f"hook-{uuid4().hex[:8]}"

    async def work(client: PrefectRunStore) -> None:
        data = {"subject": "{{subject}}", "body": "{{body}}"}
        hook = CustomWebhookNotificationBlock(
            name="ops", url=url, json_data=data, headers=None, cookies=None
        )
        await hook.asave(name, client=client)
        block = await automations.notification_block(client, f"custom-webhook/{name}")
        await automations.create(client, app, automations.automations(app, patience, block))

    with_prefect(prefect_api, work)


def impatient() -> Patience:
    """The shortest times that Prefect allows; nobody should choose them."""
    return Patience(
        unserved=timedelta(seconds=12),
        late=timedelta(seconds=12),
        lost=timedelta(seconds=15),
        missed_heartbeats=0,
    )


@pytest.mark.nightly
def test_people_are_told(prefect_api: str, told: tuple[str, Told]) -> None:
    url, messages = told
    queues = ("Todo", "Review", "Later", "In Progress", "Given up")
    board = MemoryAdapter(queues)
    name = app_name("told")
    app = AgentDispatcher(
        name=name, queue_backend=board, poll_interval=1, api_port=0, dead_letter_queue="Given up"
    )
    broken = ScriptedAgent([Fail("the build fails", retryable=False)])
    app.route("Todo", agent=broken)(prompt)
    app.route("Review", agent=broken, pause_after_failures=1)(prompt)
    app.route("Later", agent=broken)(prompt)

    # Not of workers: until this one is there, it may take a while.
    patience = replace(impatient(), unserved=timedelta(hours=1))
    install(prefect_api, name, patience, url)
    with running(app, prefect_api) as it:
        LOCAL.post(f"{it.api_url}/routes/Later/pause", json={}, timeout=60).raise_for_status()
        waits = board.create_task("Later", "Wait for it")
        LOCAL.post(
            f"{it.api_url}/tasks/{waits.id}/dispatch", json={}, timeout=60
        ).raise_for_status()
        task = board.create_task("Todo", "Hopeless {{ task }}")
        board.create_task("Review", "Look at it")

        wait_until("people are told of three things", lambda: len(set(messages)) >= 3)
    assert sorted(set(messages)) == [
        (
            f"{name}: dead letter: Hopeless {{{{ task }}}}",
            f"Task {task.id} was given up and is in Given up: the build fails",
        ),
        (
            f"{name}: late run: Wait for it",
            "No agent has started on this task for 0.2 minutes. `athanore doctor` may say why.",
        ),
        (
            f"{name}: paused route: Review",
            "Route 'Review' is paused: a task failed (the build fails).",
        ),
    ]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_run_that_fell_silent_is_crashed_and_others_are_not(
    own_prefect: str, told: tuple[str, Told], tmp_path: Path
) -> None:
    url, messages = told
    app = dispatcher(tmp_path, "silent")
    name = app.name
    install(own_prefect, name, impatient(), url)
    with served(app, own_prefect) as api:

        def started(task_name: str) -> str:
            return api.start_run(api.board.create_task("Todo", task_name).id)[0]

        # As our own worker runs them, without a heartbeat; as a stock worker does, with them; one
        # that waits for its retry; and one whose process was killed.
        quiet, beating, retrying, killed = map(started, ("quiet", "beating", "retrying", "killed"))
        for run_id in (beating, retrying, killed):
            beat(api.prefect, run_id)
        due = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        api.prefect.post(
            f"/flow_runs/{retrying}/set_state",
            {
                "state": {
                    "type": "SCHEDULED",
                    "name": "AwaitingRetry",
                    "state_details": {"scheduled_time": due},
                },
                "force": True,
            },
        )
        last = last_of_killed = monotonic()

        def state(run_id: str) -> tuple[str, str]:
            run = api.prefect.get(f"/flow_runs/{run_id}")
            return run["state_type"], run["state"]["message"] or ""

        def is_crashed() -> bool:
            nonlocal last, last_of_killed
            if monotonic() - last > 1:
                last = monotonic()
                beat(api.prefect, beating)
            # A busy Prefect may not have read the automation yet when the first one came.
            if monotonic() - last_of_killed > 60:
                last_of_killed = monotonic()
                beat(api.prefect, killed)
            return state(killed)[0] == "CRASHED"

        wait_until("the silent run is crashed", is_crashed, 240)
        assert "No heartbeat for 0.25 minutes" in state(killed)[1]
        assert [state(r)[0] for r in (quiet, beating, retrying)] == [
            "RUNNING", "RUNNING", "SCHEDULED",
        ]  # fmt: skip

        # No worker ever came.
        gone = (
            f"{name}: no worker: {name}-polls",
            "No worker has served this work pool for 0.2 minutes: no agent starts.",
        )
        wait_until("people are told of the worker", lambda: gone in messages)


def beat(prefect: Prefect, run_id: str) -> None:
    """Send what Prefect's engine sends for a run every three minutes."""
    tags = prefect.get(f"/flow_runs/{run_id}")["tags"]
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "related": [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
            for tag in tags
        ],
    }
    prefect.post("/events", [event])  # pyright: ignore[reportArgumentType]


def test_a_time_that_healthy_runs_are_silent_for_is_refused() -> None:
    Patience(lost=3 * HEARTBEAT_EVERY)
    with pytest.raises(ConfigurationError, match="for 540 s at least"):
        Patience(lost=3 * HEARTBEAT_EVERY - timedelta(seconds=1))


def test_they_are_made_once_and_keep_what_people_chose(prefect_api: str) -> None:
    app, other = app_name("kept"), app_name("kept")
    wanted = automations.automations(app, Patience(), None)

    async def work(client: PrefectRunStore) -> None:
        async def there(name: str) -> dict[str, Any]:
            found = await client.read_automations(sort=AutomationSort.NAME_ASC)
            return {a.name: a for a in found if f"app:{name}" in a.tags}

        await automations.create(client, other, automations.automations(other, Patience(), None))
        made = await automations.create(client, app, wanted)
        assert made == [f"created {w.name!r}" for w in wanted]
        first = await there(app)
        letter = first[f"{app}: dead letter"]
        await client.pause_automation(letter.id)

        sooner = automations.automations(app, Patience(late=timedelta(minutes=5)), None)
        again = await automations.create(client, app, sooner)
        assert again[0] == f"renewed {letter.name!r} (switched off)"
        second = await there(app)
        assert {n: a.id for n, a in second.items()} == {n: a.id for n, a in first.items()}
        assert not second[letter.name].enabled
        assert second[f"{app}: late run"].trigger.within == timedelta(minutes=5)

        assert len(await automations.delete(client, app, wanted)) == len(wanted)
        assert await there(app) == {}
        assert len(await there(other)) == len(wanted)
        assert await automations.delete(client, app, wanted) == []

    with_prefect(prefect_api, work)
