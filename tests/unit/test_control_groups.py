"""An agent in a control group of the kernel: nothing of it escapes, and no group is left over."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from athanore.processes import cgroup
from athanore.processes import family as processes
from athanore.processes.family import Family
from athanore.processes.supervisor import stop_orphans, supervise
from tests.unit.test_supervisor import NASTY, Tagged, read, until


def _is_there() -> bool:
    folder = cgroup.create(f"test-{os.getpid()}")
    if folder:
        cgroup.remove(folder)
    return bool(folder)


needs_groups = pytest.mark.skipif(
    not _is_there(),
    reason="this process may make no control group (cgroup v2, Linux 5.14, root or Delegate=yes)",
)


class Grouped(Tagged):
    """Processes whose groups are emptied in the end, too: a deserter would hold the pipes open."""

    def __init__(self) -> None:
        super().__init__()
        self._pids = [os.getpid()]

    def start(
        self, *command: str, env: dict[str, str] | None = None, new_session: bool = True
    ) -> subprocess.Popen[str]:
        process = super().start(*command, env=env, new_session=new_session)
        self._pids.append(process.pid)
        return process

    def clean_up(self) -> None:
        for group in [group for pid in self._pids for group in groups_of(pid)]:
            cgroup.kill(group)
        super().clean_up()
        for group in [group for pid in self._pids for group in groups_of(pid)]:
            cgroup.remove(group)


@pytest.fixture
def tagged() -> Generator[Tagged]:
    tagged = Grouped()
    yield tagged
    tagged.clean_up()


def deserters(group: str) -> list[psutil.Process]:
    """The processes of a group that are not known by a mark, a session or a parent."""
    found = [psutil.Process(pid) for pid in cgroup.members(group)]
    return [p for p in found if p.cmdline()[-1:] == ["deserter"]]


def lives(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie, which nobody of ours may wait for."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def there(group: str) -> bool:
    """Whether the folder of a group is there."""
    return Path(group).exists()


def groups_of(worker: int) -> list[str]:
    """The groups of a worker's agents."""
    return [folder for mark, folder in cgroup.left_over().items() if f"_{worker}_" in mark]


@needs_groups
async def test_a_process_that_has_left_everything_is_stopped_with_its_agent(
    tagged: Tagged,
) -> None:
    async with supervise() as agent:
        leader = tagged.start(*NASTY, "deserts", "prompt", env=agent.env)
        agent.led_by(leader.pid)
        group = agent.family.group
        assert leader.pid in cgroup.members(group)
        assert await read(leader, 1) == ["deserted"]
        (deserter,) = deserters(group)
        blind = Family(agent.family.mark, agent.family.since, leader.pid, agent.family.start)
        assert deserter.pid not in {p.pid for p in processes.find([blind])}, "as it is without one"
    assert not lives(deserter)
    assert not there(group)


@needs_groups
async def test_a_killed_worker_leaves_neither_process_nor_group(tagged: Tagged) -> None:
    worker = tagged.worker("is_deserted")
    assert await read(worker, 1) == ["deserted"]
    (group,) = groups_of(worker.pid)
    (deserter,) = deserters(group)
    worker.kill()
    await until(lambda: not lives(deserter))
    await until(lambda: not there(group))


@needs_groups
async def test_a_later_worker_finds_what_is_in_the_groups_of_an_earlier_one(
    tagged: Tagged,
) -> None:
    worker = tagged.worker("is_deserted")
    assert await read(worker, 1) == ["deserted"]
    (group,) = groups_of(worker.pid)
    (deserter,) = deserters(group)
    reaper = next(
        p for p in psutil.Process(worker.pid).children() if "processes.reaper" in str(p.cmdline())
    )
    reaper.suspend()
    worker.kill()
    worker.wait()
    reaper.kill()
    for process in tagged.alive():
        process.send_signal(signal.SIGKILL)
    await until(lambda: not tagged.alive())
    assert lives(deserter)
    assert await stop_orphans() >= 1
    assert not lives(deserter)
    assert not there(group)


@needs_groups
async def test_a_group_that_is_empty_and_nobodys_is_removed_and_not_counted(
    tagged: Tagged,
) -> None:
    dead = tagged.start("true")
    dead.wait()
    namespace, _, since, name = Family.new().mark.split("_")
    group = cgroup.create(f"{namespace}_{dead.pid}_{since}_{name}")
    mine = cgroup.create(Family.new().mark)
    assert name not in str([family.mark for family in processes.orphans()])
    assert not there(group)
    assert there(mine), "its worker lives"
    cgroup.remove(mine)


def proc_that_says(folder: Path, own: str, mounts: str) -> str:
    """What the system says of this process's group and of its mounts, in files of a folder."""
    said = folder / "proc" / "self"
    said.mkdir(parents=True)
    (said / "cgroup").write_text(own)
    (said / "mountinfo").write_text(mounts)
    return str(said.parent)


@pytest.mark.parametrize(
    ("own", "mounts"),
    [
        ("4:memory:/x\n", "36 35 0:30 / {at} rw - cgroup2 cgroup rw\n"),
        ("0::/x\n", "36 35 0:30 / {at} rw - cgroup cgroup rw,memory\n"),
        ("0::/x\n", "36 35 0:30 /elsewhere {at} rw - cgroup2 cgroup rw\n"),
        ("0::/x\n", "36 35 0:30 / /no/such/place rw - cgroup2 cgroup rw\n"),
    ],
)
def test_without_a_group_of_ones_own_there_is_none(own: str, mounts: str, tmp_path: Path) -> None:
    proc = proc_that_says(tmp_path, own, mounts.format(at=tmp_path))
    assert cgroup.create("a-mark", proc) == ""
    assert cgroup.left_over(proc) == {}


def test_a_kernel_that_cannot_kill_a_group_has_none(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    mounts = f"36 35 0:30 /outer {tmp_path} rw shared:9 - cgroup2 cgroup rw\n"
    proc = proc_that_says(tmp_path, "0::/outer/service\n", mounts)
    assert cgroup.create("a-mark", proc) == ""
    assert list((tmp_path / "service").iterdir()) == []
    (tmp_path / "service" / "athanore-left").mkdir()
    assert cgroup.left_over(proc) == {"left": str(tmp_path / "service" / "athanore-left")}


async def test_an_agent_is_supervised_without_a_group(
    tagged: Tagged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: str, pid: int) -> bool:
        return False

    monkeypatch.setattr(cgroup, "enter", refused)
    async with supervise() as agent:
        leader = tagged.start(*NASTY, "hangs", "prompt", env=agent.env)
        agent.led_by(leader.pid)
        assert agent.family.group == ""
        # Other tests have groups of theirs at this moment.
        assert agent.family.mark not in cgroup.left_over()
    assert leader.wait(60) == -signal.SIGTERM


def _group(folder: Path, most: str, used: int, files: int) -> Path:
    folder.mkdir()
    (folder / "cgroup.procs").touch()
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {files}\nactive_file 3\n")
    return folder


def test_what_bounds_the_memory_of_a_group_is_the_tightest_of_those_round_it(
    tmp_path: Path,
) -> None:
    outer = _group(tmp_path / "pod", "5000", 4000, 100)
    inner = _group(outer / "container", "max", 3000, 0)
    assert cgroup.free_memory(str(inner)) == 1100
    (inner / "memory.max").write_text("3500\n")
    assert cgroup.free_memory(str(inner)) == 500
    (inner / "memory.current").write_text("3600\n")
    assert cgroup.free_memory(str(inner)) == 0
    for group in (outer, inner):
        (group / "memory.max").write_text("max\n")
    assert cgroup.free_memory(str(inner)) is None
