"""Restarting the workers of an app one after the other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Worker, WorkerStatus

from athanore import names
from athanore.errors import WorkerNotFoundError
from athanore.runs.capacity import fleet as kept
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.services import fleet
from tests.memory_store import no_events
from tests.rules_site import Site

__all__ = ["no_events"]

AT_ONCE = timedelta(milliseconds=1)
POLITE = timedelta(seconds=1)


class Hosts:
    """Workers that live in a store in memory, and what starts them again."""

    def __init__(self, *, starts_again: bool = True) -> None:
        self.site = Site()
        self.pool = names.agents_pool(self.site.app.name)
        self.site.client.workers_of.setdefault(self.pool, []).clear()
        self.starts_again = starts_again
        self.said: list[str] = []
        self.most_away = 0
        self.count = 0

    async def start(self, host: str, **said: object) -> str:
        self.count += 1
        name = f"{host}-{self.count}"
        now = datetime.now(UTC)
        entry = WorkerEntry(name, f"{name} {self.pool}", host, now, **said)  # pyright: ignore[reportArgumentType]
        await kept.announce(self.site.client, self.site.app.name, entry)
        self._living.append(
            Worker(
                name=entry.pool_name,
                work_pool_id=uuid4(),
                last_heartbeat_time=now,
                status=WorkerStatus.ONLINE,
            )
        )
        return name

    @property
    def _living(self) -> list[Worker]:
        found = self.site.client.workers_of[self.pool]
        assert isinstance(found, list)
        return found

    def silent(self, since: timedelta) -> Worker:
        """The first worker is heard of no more."""
        first = self._living[0]
        assert first.last_heartbeat_time is not None
        first.last_heartbeat_time -= since
        return first

    async def go_on(self) -> None:
        """What hosts do: a worker that is to leave ends, and its service manager starts it."""
        while True:
            known = await kept.read_fleet(self.site.client, self.site.app.name)
            leaving = [d.worker for d in known.drains.values() if d.then_exit]
            self.most_away = max(self.most_away, len(leaving))
            for name in leaving:
                entry = known.workers[name]
                await kept.forget_worker(self.site.client, self.site.app.name, name)
                if self.starts_again:
                    await self.start(
                        entry.host, labels=entry.labels, limit=entry.limit, version="2"
                    )
            await asyncio.sleep(0)

    async def restart(self, worker: str | None = None, patience: timedelta = POLITE) -> None:
        others = asyncio.create_task(self.go_on())
        try:
            await fleet.restart(
                self.site.client, self.site.app, worker, "ann", self.said.append,
                every=AT_ONCE, patience=patience,
            )  # fmt: skip
        finally:
            others.cancel()


async def test_of_a_worker_that_is_lost_its_last_sign_of_life_is_told() -> None:
    hosts = Hosts()
    for host in ("mac", "box"):
        await hosts.start(host)
    lost = hosts.silent(timedelta(minutes=5))
    box, mac = await fleet.workers(hosts.site.client, hosts.site.app)
    assert (box.state, mac.state) == ("ready", "lost")
    assert mac.last_seen == lost.last_heartbeat_time


async def test_one_worker_after_the_other_ends_and_comes_back() -> None:
    hosts = Hosts()
    for host in ("mac", "box"):
        await hosts.start(host, labels=(host,), limit=2, version="1")
    await hosts.restart()
    assert hosts.most_away == 1
    assert hosts.said == [
        "box-2 takes nothing new, and ends when it is empty.",
        "box-2 has ended.",
        "box-3 has come, version 2.",
        "mac-1 takes nothing new, and ends when it is empty.",
        "mac-1 has ended.",
        "mac-4 has come, version 2.",
    ]


async def test_a_worker_that_has_said_goodbye_is_not_listed() -> None:
    hosts = Hosts()
    name = await hosts.start("mac")
    assert [v.name for v in await fleet.workers(hosts.site.client, hosts.site.app)] == [name]
    await kept.forget_worker(hosts.site.client, hosts.site.app.name, name)
    assert await fleet.workers(hosts.site.client, hosts.site.app) == []


async def test_only_those_that_are_named_restart() -> None:
    hosts = Hosts()
    for host in ("mac", "box"):
        await hosts.start(host)
    await hosts.restart("mac")
    assert [line for line in hosts.said if "has ended" in line] == ["mac-1 has ended."]
    with pytest.raises(WorkerNotFoundError, match="'nas'"):
        await hosts.restart("nas")


async def test_where_nothing_starts_a_worker_again_it_is_said_what_to_run() -> None:
    hosts = Hosts(starts_again=False)
    await hosts.start("mac", labels=("macos", "big"), limit=4)
    restarting = asyncio.create_task(hosts.restart(patience=AT_ONCE))
    async with asyncio.timeout(60):
        while len(hosts.said) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.wait([restarting], timeout=0.3)
    assert not restarting.done()
    restarting.cancel()
    assert hosts.said[2:] == [
        "Nothing has started another worker for mac-1 yet. On host 'mac' run: "
        "athanore worker --limit 4 --host-labels macos,big"
    ]
