"""Workers beside each other: what each takes, and how one is emptied."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore import DirectoryWorkspace, JsonFileAdapter
from athanore.names import agents_pool
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import Drain, WorkerEntry
from athanore.runs.events import shapes
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.services.fleet import workers
from athanore.worker.taking import place
from athanore.worker.taking.host_room import HostRoom, least_free
from athanore.worker.taking.place import LOOK_EVERY, Place
from athanore.worker.taking.silence import LOST_STAYS
from tests.harness import Prefect, app_name
from tests.integration.test_interrupted import Site, site_at
from tests.support import clean_environment, stop_group, wait_until

CLI = "from athanore.cli import main; main()"

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, max_concurrent_agents=20, poll_interval=2,
    command="{python} {folder}/agent.py {folder}/begun {folder}/hold",
    queue_backend=JsonFileAdapter("board.json"),
)

@dispatcher.route(queue_name="Todo", done_queue="Done", in_progress_queue="Doing")
def work(task_id: str, task_name: str) -> str:
    return task_name

@dispatcher.route(queue_name="iOS", host="macos", done_queue="Done", in_progress_queue="Doing")
def build(task_id: str, task_name: str) -> str:
    return task_name
"""


@contextmanager
def process(folder: Path, env: dict[str, str], *words: str) -> Generator[subprocess.Popen[bytes]]:
    """A command of ours that runs until the block ends."""
    with (folder / "log.txt").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-c", CLI, *words], cwd=folder, env=env, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield started
    finally:
        stop_group(started)


class Host:
    """A worker on a host of its own, with a number of agents and a clock that tests set."""

    def __init__(
        self, app: App, name: str, limit: int | None = None, least: int = 0, disk: int = 0
    ) -> None:
        self.agents = 0
        self.time = 0.0
        self.free = self.free_disk = 10_000
        self.pool_name = f"{name} {agents_pool(app.name)}"
        self.place = Place(
            app,
            self.pool_name,
            lambda: [UUID(int=n) for n in range(self.agents)],
            limit=limit,
            monotonic=lambda: self.time,
            room=HostRoom(
                min_memory=least,
                free_memory=lambda: self.free,
                min_disk=disk,
                free_disk=lambda: (self.free_disk, Path("/spaces")),
            ),
        )

    def take(self, offered: int) -> int:
        """Take of so many new runs; returns how many."""
        return self.take_of(runs(offered))

    def take_of(self, due: list[FlowRun], elsewhere: int | None = None) -> int:
        """Take some of the runs that are due; returns how many."""
        taken = [*self.place.take(due, elsewhere)[0]]
        due[:] = [run for run in due if run not in taken]
        self.agents += len(taken)
        return len(taken)


def runs(count: int, queue: UUID | None = None) -> list[FlowRun]:
    return [FlowRun(flow_id=uuid4(), name=str(n), work_queue_id=queue) for n in range(count)]


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    async with site_at(prefect_api) as site:
        yield site


@pytest.fixture
def app(site: Site) -> App:
    return site.app


@pytest.fixture
def prefect(site: Site) -> PrefectRunStore:
    return site.client


async def several(app: App, prefect: PrefectRunStore, *limits: int | None) -> list[Host]:
    """Hosts that have heard of each other."""
    found = [Host(app, f"host-{n}", limit) for n, limit in enumerate(limits)]
    for host in found * 2:
        await prefect.send_worker_heartbeat(agents_pool(app.name), host.pool_name, 30)
        await host.place.look(prefect)
    return found


def test_a_worker_alone_takes_all_that_is_due_up_to_its_limit(app: App) -> None:
    assert Host(app, "a").take(8) == 8
    limited = Host(app, "a", limit=3)
    assert limited.take(8) == 3
    assert (limited.place.is_full, limited.take(5)) == (True, 0)


async def test_a_worker_asks_for_no_more_runs_than_it_has_room_for(
    app: App, prefect: PrefectRunStore
) -> None:
    alone, limited = Host(app, "a"), Host(app, "a", limit=3)
    assert (alone.place.asks_for(), limited.place.asks_for()) == ((200, 200), (3, 3))
    limited.agents = 2
    assert limited.place.asks_for() == (1, 1)
    beside, full = await several(app, prefect, None, 5)
    full.agents = 4
    assert (beside.place.asks_for(), full.place.asks_for()) == ((10, 2), (1, 1))


async def test_hosts_that_see_the_same_tasks_share_them_evenly(
    app: App, prefect: PrefectRunStore
) -> None:
    hosts = await several(app, prefect, None, None)
    due = runs(8)
    for step in range(100):
        for host in hosts:
            host.time = 0.1 * step
            host.take_of(due, sum(h.agents for h in hosts if h is not host))
    assert (due, sorted(h.agents for h in hosts)) == ([], [4, 4])


async def test_agents_of_a_worker_that_takes_none_now_are_not_counted_for_the_others(
    app: App, prefect: PrefectRunStore
) -> None:
    one, other, full = await several(app, prefect, None, None, 3)
    full.agents, one.agents = 3, 2
    for host in (full, one, other):
        await host.place.look(prefect)
    due = runs(3)
    assert one.take_of(due, 3) <= 1, "the one with room has none, and the other one has all three"
    one.time += 0.5
    one.take_of(due, 3)
    assert (one.agents, len(due)) == (3, 2)


async def test_workers_that_ask_at_once_take_different_runs(
    app: App, prefect: PrefectRunStore
) -> None:
    hosts = await several(app, prefect, None, None)
    due = runs(8)
    for host in hosts:
        host.place.asks_for()
        host.time = 1.0  # Prefect answers slowly
    took = [{run.id for run in host.place.take(due, 0)[0]} for host in hosts]
    assert not took[0] & took[1] and max(map(len, took)) <= 4 <= len(took[0] | took[1])


async def test_a_run_that_nobody_else_takes_waits_a_moment_only(
    app: App, prefect: PrefectRunStore
) -> None:
    full, _ = await several(app, prefect, None, None)
    full.agents = 5
    due = runs(1)
    assert full.place.take(due) == ([], timedelta(seconds=1.8))
    assert full.place.looks_again, "what arrives meanwhile wakes it for nothing"
    full.time = 1.8
    assert (full.take_of(due), full.place.looks_again) == (1, False)


async def test_many_workers_look_at_one_another_together_as_often_as_four(
    app: App, prefect: PrefectRunStore
) -> None:
    few = await several(app, prefect, None, None)
    assert {host.place.looks_every for host in few} == {LOOK_EVERY}
    many = await several(app, prefect, *[None] * 8)
    assert {host.place.looks_every for host in many} == {2 * LOOK_EVERY}
    more = await several(app, prefect, *[None] * 20)
    assert {host.place.looks_every for host in more} == {3 * LOOK_EVERY}


async def test_a_server_that_answers_slowly_is_asked_less_often(
    app: App, prefect: PrefectRunStore
) -> None:
    host, _ = await several(app, prefect, None, None)
    host.agents = 5
    host.place.asks_for()
    host.time = 2.0
    assert host.place.take(runs(1)) == ([], timedelta(seconds=10))
    assert host.place.rest == timedelta(seconds=10), "also not for each run that arrives"
    host.time = 12.0
    assert host.place.rest == timedelta(0)


async def test_a_worker_beside_others_looks_again_where_runs_may_be_hidden(
    app: App, prefect: PrefectRunStore
) -> None:
    """On PostgreSQL they are, while another worker asks for them."""
    host, _ = await several(app, prefect, None, None)
    assert host.place.take([])[1] is None
    host.place.expects_runs()
    assert [host.place.take([])[1] is not None for _ in range(3)] == [True, True, False]
    host.take(2)
    assert [host.place.take([])[1] is not None for _ in range(3)] == [True, True, False]
    alone = Host(app, "alone")
    alone.place.expects_runs()
    assert alone.place.take([])[1] is None


async def test_a_host_that_has_memory_again_takes_runs_at_its_next_look(
    app: App, prefect: PrefectRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LOOK_EVERY", 0.05)
    host, resumed = Host(app, "a", least=5_000), asyncio.Event()
    host.free = 4_000
    keeping = asyncio.create_task(host.place.keep(prefect, resumed.set, lambda: None))
    try:
        await asyncio.sleep(0.5)
        assert not resumed.is_set()
        host.free = 6_000
        async with asyncio.timeout(60):
            await resumed.wait()
    finally:
        keeping.cancel()


async def test_nothing_is_left_to_a_worker_that_shuts_down(
    app: App, prefect: PrefectRunStore
) -> None:
    one, other = await several(app, prefect, None, None)
    await other.place.leaves(prefect)
    await one.place.look(prefect)
    assert len(one.place.living) == 1, "it has no agent, and is gone in a moment"
    other.agents = 1
    await other.place.leaves(prefect)
    await one.place.look(prefect)
    assert (one.place.living, one.take(4)) == ((), 4)
    (view,) = [w for w in await workers(prefect, app) if w.name == "host-1"]
    assert "its shutdown" in view.says
    await other.place.end(prefect)
    assert not (await fleet.read_fleet(prefect, app.name)).drains


async def test_many_workers_ask_a_server_together_as_often_as_four(
    app: App, prefect: PrefectRunStore
) -> None:
    rests: list[float] = []
    for count in (2, 4, 8, 20):
        host = (await several(app, prefect, *[None] * count))[0]
        host.place.asks_for()
        host.time = 0.2
        host.place.take(runs(1))
        rests.append(round(host.place.rest.total_seconds(), 6))
    assert rests == [1, 1, 2, 4]


async def test_a_drain_is_over_with_the_process_that_it_was_for(
    app: App, prefect: PrefectRunStore
) -> None:
    """A worker of `prefect worker start --name` that was killed has the same name again."""
    first = Host(app, "build-1")
    await first.place.look(prefect)
    await fleet.drain(prefect, app.name, Drain("build-1", app.clock.now(), then_exit=True))
    drain = await first.place.look(prefect)
    assert (drain is not None, first.place.is_full) == (True, True)
    second = Host(app, "build-1")
    assert (await second.place.look(prefect), second.take(1)) == (None, 1)
    assert dict((await fleet.read_fleet(prefect, app.name)).drains) == {}
    await fleet.drain(prefect, app.name, Drain("build-1", app.clock.now()))
    assert (await second.place.look(prefect) is not None, second.place.is_full) == (True, True)


async def test_nothing_is_left_to_a_worker_that_is_full_or_drained(
    app: App, prefect: PrefectRunStore
) -> None:
    one, other = await several(app, prefect, None, 2)
    one.agents, other.agents = 5, 2
    for host in (other, one):
        await host.place.look(prefect)
    assert one.take(3) == 3
    other.agents = 0
    await fleet.drain(prefect, app.name, Drain("host-1", app.clock.now(), "me"))
    for host in (other, one):
        await host.place.look(prefect)
    assert (other.place.is_full, other.take(3), one.take(3)) == (True, 0, 3)
    await fleet.resume(prefect, app.name, "host-1")
    await other.place.look(prefect)
    assert other.take(1) == 1


def test_with_too_little_memory_nothing_is_taken(app: App) -> None:
    host = Host(app, "a", least=5_000)
    assert host.take(1) == 1
    host.free = 4_999
    assert host.take(1) == 0


async def test_with_too_little_disk_nothing_is_taken_and_others_are_told(
    app: App, prefect: PrefectRunStore
) -> None:
    host = Host(app, "a", disk=5_000)
    await prefect.send_worker_heartbeat(agents_pool(app.name), host.pool_name, 30)

    async def state() -> tuple[str, str]:
        await host.place.look(prefect)
        (view,) = await workers(prefect, app)
        return view.state, view.says

    assert (host.take(1), await state()) == (1, ("ready", ""))
    host.free_disk = 4_999
    assert (host.take(1), await state()) == (
        0, ("full", "0 MB of the disk are free at /spaces, below min_free_disk=0"),
    )  # fmt: skip
    host.free_disk = 5_000
    assert (host.take(1), await state()) == (1, ("ready", ""))


def test_the_disks_that_count_are_those_where_agents_work(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {Path.cwd(): 2, tmp_path: 1}

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free[folder])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert least_free(app) == (2, Path.cwd())
    route = next(iter(app.dispatcher.routes.values()))
    vars(route)["workspace"] = DirectoryWorkspace(tmp_path / "not-made-yet" / "spaces")
    assert least_free(app) == (1, tmp_path)


async def test_a_worker_that_ends_is_forgotten_with_what_was_asked_of_it(
    app: App, prefect: PrefectRunStore
) -> None:
    one, other = await several(app, prefect, None, None)
    await fleet.drain(prefect, app.name, Drain("host-1", app.clock.now()))
    await other.place.end(prefect)
    await one.place.look(prefect)
    known = await fleet.read_fleet(prefect, app.name)
    assert (list(known.workers), dict(known.drains), one.take(4)) == (["host-0"], {}, 4)


@pytest.mark.nightly
async def test_a_worker_that_was_killed_is_listed_for_an_hour_and_then_forgotten(
    app: App, prefect: PrefectRunStore
) -> None:
    one, _ = await several(app, prefect, None, None)
    gone = WorkerEntry("gone", f"gone {agents_pool(app.name)}", "far", app.clock.now())
    await fleet.announce(prefect, app.name, gone)
    await fleet.drain(prefect, app.name, Drain("gone", app.clock.now()))

    async def listed() -> dict[str, str]:
        await one.place.look(prefect)
        return {w.name: w.state for w in await workers(prefect, app)}

    assert await listed() == {"gone": "lost", "host-0": "ready", "host-1": "ready"}
    one.time += LOST_STAYS
    assert "gone" in await listed()
    one.time += 1
    assert await listed() == {"host-0": "ready", "host-1": "ready"}
    assert dict((await fleet.read_fleet(prefect, app.name)).drains) == {}


async def test_a_worker_that_is_lost_or_back_is_told_once_by_one_of_the_others(
    app: App, prefect: PrefectRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    def tell(event: str, app: str, worker: str, why: str) -> None:
        told.append((event, worker))

    monkeypatch.setattr(shapes, "send_of_worker", tell)
    hosts = await several(app, prefect, None, None)
    pool = agents_pool(app.name)
    gone = WorkerEntry("gone", f"gone {pool}", "far", app.clock.now())
    await fleet.announce(prefect, app.name, gone)

    async def look() -> list[tuple[str, str]]:
        told.clear()
        for host in hosts:
            await host.place.look(prefect)
        return list(told)

    assert await look() == [], "it may be slow"
    for host in hosts:
        host.time += app.dispatcher.settings.worker_lost_after + 1
    assert await look() == [(shapes.WORKER_LOST, "gone")]
    assert await look() == []
    await prefect.send_worker_heartbeat(pool, gone.pool_name, 30)
    assert await look() == [(shapes.WORKER_BACK, "gone")]
    assert await look() == []


async def test_what_a_worker_says_of_itself_is_read_back(
    app: App, prefect: PrefectRunStore
) -> None:
    (host,) = await several(app, prefect, 4)
    host.agents = 2
    await host.place.look(prefect)
    (said,) = (await fleet.read_fleet(prefect, app.name)).workers.values()
    assert (said.name, said.limit, said.agents) == ("host-0", 4, 2)


AGENT = """\
import pathlib, sys, time
place, hold = map(pathlib.Path, sys.argv[1:3])
(place / sys.argv[3]).touch()
while hold.exists():
    time.sleep(0.1)
"""


class Folder:
    """An app in a folder, whose workers are processes; its agents wait until `hold` is gone."""

    def __init__(self, folder: Path, prefect_api: str) -> None:
        self.folder = folder
        (folder / "agent.py").write_text(AGENT)
        self.hold, self.begun = folder / "hold", folder / "begun"
        self.hold.touch()
        self.begun.mkdir()
        name = app_name("fleet")
        script = SCRIPT.format(name=name, python=sys.executable, folder=folder)
        (folder / "run.py").write_text(script)
        (folder / "board.json").write_text(
            json.dumps({"queues": {"Todo": [], "iOS": [], "Doing": [], "Done": []}})
        )
        self.board = JsonFileAdapter(folder / "board.json")
        self.prefect = Prefect(prefect_api, name)
        self.env = clean_environment(folder / "home") | {
            "PREFECT_API_URL": prefect_api, "ATHANORE_API_URL": "http://127.0.0.1:9",
        }  # fmt: skip
        self.athanore("deploy")

    def athanore(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", CLI, *words], cwd=self.folder, env=self.env, check=True,
            timeout=120, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def worker(self, *words: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return process(self.folder, self.env, "worker", *words)

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.athanore("workers", "--json"))
        return found

    def add(self, count: int) -> None:
        """Add tasks, and wait until an agent works on each."""
        for n in range(count):
            self.board.create_task("Todo", f"t{n}")
        wait_until("all are at work", lambda: len(list(self.begun.iterdir())) == count)


@pytest.mark.nightly
def test_eight_tasks_at_once_are_shared_by_two_idle_workers(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Folder(tmp_path, prefect_api)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(site.worker())
        wait_until("both have said who they are", lambda: len(site.workers()) == 2)
        time.sleep(LOOK_EVERY + 1)  # each has heard of the other
        site.add(8)
        took = Counter(run["labels"]["athanore.worker"] for run in site.prefect.runs())
        assert sorted(took.values()) in ([4, 4], [3, 5])
        site.hold.unlink()


@pytest.mark.nightly
def test_a_second_worker_takes_its_share_up_to_its_limit_and_is_emptied(
    tmp_path: Path, prefect_api: str
) -> None:
    """Two processes: 6 tasks, of which the second has room for 2; then it drains."""
    site = Folder(tmp_path, prefect_api)
    athanore, begun, board = site.athanore, site.begun, site.board

    def listed() -> dict[str, dict[str, Any]]:
        return {"small" if w["limit"] == 2 else "big": w for w in site.workers()}

    with ExitStack() as stack:
        workers = [stack.enter_context(site.worker("--limit", limit)) for limit in ("4", "2")]
        wait_until("both have said who they are", lambda: len(listed()) == 2)
        site.add(6)
        there = listed()
        assert (there["small"]["agents"], there["small"]["state"]) == (2, "full")
        assert (there["big"]["agents"], there["big"]["state"]) == (4, "full")
        assert athanore("worker", "drain", there["small"]["name"], "--then-exit")
        assert listed()["small"]["state"] == "draining"
        board.create_task("Todo", "later")
        site.hold.unlink()
        wait_until("it has ended by itself", lambda: workers[1].poll() is not None)
        wait_until("the other took what came later", lambda: (begun / "later").exists())
        assert (workers[1].returncode, workers[0].poll()) == (0, None)
        assert set(listed()) == {"big"}

        mac = board.create_task("iOS", "build")
        needs = "needs a worker on a host with the label 'macos'"
        wait_until(
            "its queue is polled, and it waits for such a host",
            lambda: needs in (said := athanore("explain", mac.id)) and "run is due" in said,
        )
        assert (board.get_task(mac.id).queue_name, needs in athanore("status")) == ("iOS", True)
        stack.enter_context(site.worker("--host-labels", "big,macos"))
        wait_until("it is there, and took it", lambda: (begun / "build").exists())
