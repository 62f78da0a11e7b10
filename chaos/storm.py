"""What goes wrong while the site works: one thing after another, at random moments, by the seed."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from chaos.site import Service, Site
from tests.support import LOCAL

_LONGEST_LULL = 60.0


class Storm:
    """Draws the next disturbance when it is due, and ends those that last a while.

    What happens, and after how much work, comes from the seed alone; what it hits depends on how
    fast the machine works. At first each kind happens once, then as often as its weight says.
    `moved` and `cancelled` are the tasks that a "person" interfered with.

    Args:
        gap: how many agents start between two disturbances, on average.
    """

    def __init__(self, site: Site, seed: str, gap: float = 16) -> None:
        self.happened: Counter[str] = Counter()
        self.moved: set[str] = set()
        self.cancelled: set[str] = set()
        self._site = site
        self._random = random.Random(f"storm/{seed}")
        self._gap = gap
        self._next = self._random.uniform(0.2, 1.8) * gap
        self._overdue = time.monotonic() + _LONGEST_LULL
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._board = _Board(site.folder / "board.json")
        self._kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "worker killed": (6, lambda: self._kill(self._a_worker(), 4)),
            "worker and its reaper killed": (2, lambda: self._a_worker().kill_with_reaper()),
            "worker terminated": (4, lambda: self._a_worker().signal(signal.SIGTERM)),
            "worker interrupted twice": (1, self._interrupt_twice),
            "worker frozen": (3, lambda: self._freeze(self._a_worker(), 8)),
            "API killed": (4, lambda: self._kill(site.api, 4)),
            "API terminated": (1, lambda: site.api.signal(signal.SIGTERM)),
            "API frozen": (1, lambda: self._freeze(site.api, 4)),
            "server killed": (3, lambda: self._kill(site.server, 6)),
            "server terminated": (1, lambda: self._end(site.server, 6)),
            "server frozen": (2, lambda: self._freeze(site.server, 8)),
            "everything killed": (1, self._kill_everything),
            "board truncated": (3, self._truncate),
            "disk full": (2, self._fill_disk),
            "task moved by hand": (2, self._move_by_hand),
            "run cancelled by hand": (2, self._cancel_by_hand),
        }
        self._untried = self._random.sample(list(self._kinds), len(self._kinds))

    def tend(self, starts: int) -> None:
        """Do what is due after so many starts of agents; when nothing starts, after a while."""
        now = time.monotonic()
        for entry in [e for e in self._ends if e[0] <= now]:
            self._ends.remove(entry)
            entry[1]()
        if starts < self._next and now < self._overdue:
            return
        self._next = starts + self._random.uniform(0.2, 1.8) * self._gap
        self._overdue = now + _LONGEST_LULL
        if self._untried:
            kind = self._untried.pop()
            if not self.strike(kind):
                self._untried.insert(0, kind)
            return
        weights = [weight for weight, _ in self._kinds.values()]
        self.strike(self._random.choices(list(self._kinds), weights)[0])

    def strike(self, kind: str) -> bool:
        """Do one thing by its name; False if there was nothing to do it to."""
        if not self._kinds[kind][1]():
            return False
        self.happened[kind] += 1
        return True

    def end(self) -> None:
        """End everything that lasts."""
        for _, ending in self._ends:
            ending()
        self._ends.clear()

    def _later(self, seconds: float, ending: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, ending))

    def _a_worker(self) -> Service:
        return self._random.choice(self._site.workers)

    def _kill(self, service: Service, longest: float) -> bool:
        service.hold_down(self._random.uniform(0, longest))
        return service.signal(signal.SIGKILL)

    def _end(self, service: Service, longest: float) -> bool:
        service.hold_down(self._random.uniform(0, longest))
        return service.signal(signal.SIGTERM)

    def _interrupt_twice(self) -> bool:
        worker = self._a_worker()
        return worker.signal(signal.SIGINT) and worker.signal(signal.SIGINT)

    def _freeze(self, service: Service, longest: float) -> bool:
        self._later(self._random.uniform(1, longest), lambda: _thaw(service))
        return service.signal(signal.SIGSTOP)

    def _kill_everything(self) -> bool:
        pause = self._random.uniform(0, 5)
        for service in self._site.services:
            service.hold_down(pause)
        return all([s.signal(signal.SIGKILL) for s in self._site.services])

    def _truncate(self) -> bool:
        if not self._board.truncate(self._random):
            return False
        self._later(self._random.uniform(1, 6), self._board.restore)
        return True

    def _fill_disk(self) -> bool:
        """Let nobody but the server, the agents at work and ourselves write to any file."""
        services = [*self._site.workers, self._site.api]
        full = [pid for s in services if (pid := s.pid) is not None and _limit_files(pid, 1)]
        self._later(
            self._random.uniform(1, 6),
            lambda: [_limit_files(pid, resource.RLIM_INFINITY) for pid in full].clear(),
        )
        return bool(full)

    def _move_by_hand(self) -> bool:
        """Move a task away that is worked on."""
        tasks = self._at_work()
        if not tasks:
            return False
        task_id = self._random.choice(tasks)
        self._site.board.move_task(task_id, "Parked")
        self.moved.add(task_id)
        return True

    def _cancel_by_hand(self) -> bool:
        """Cancel a run that works or waits, as Prefect's UI does it."""
        tag = {"all_": ["app:chaos", "agent-run"]}
        wanted = {"type": {"any_": ["SCHEDULED", "RUNNING"]}}
        body = {"flow_runs": {"tags": tag, "state": wanted}, "limit": 50, "sort": "ID_DESC"}
        url = self._site.prefect_url
        try:
            answer = LOCAL.post(f"{url}/flow_runs/filter", json=body, timeout=5)
            runs: list[Any] = answer.raise_for_status().json()
            if not runs:
                return False
            run = self._random.choice(runs)
            state = {"type": "CANCELLING", "name": "Cancelling", "message": "by hand"}
            path = f"{url}/flow_runs/{run['id']}/set_state"
            LOCAL.post(path, json={"state": state}, timeout=10).raise_for_status()
        except httpx.HTTPError:
            return False
        self.cancelled.add(str(run["parameters"]["task_id"]))
        return True

    def _at_work(self) -> list[str]:
        if self._board.is_away:
            return []
        return [t.id for t in self._site.board.get_ready_tasks(["In Progress"])]


def _limit_files(pid: int, size: int) -> bool:
    """Set the size beyond which a process may not write to a file; False if it is gone."""
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except OSError:
        return False
    return True


def _thaw(service: Service) -> None:
    service.signal(signal.SIGCONT)


class _Board:
    """The board's file, which is broken for a while and put right again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole: bytes | None = None
        # Under the board's own lock no change can get lost, and nobody writes to a broken board.
        self._lock = path.with_name(f".{path.name}.lock")

    @property
    def is_away(self) -> bool:
        return self._whole is not None

    def truncate(self, dice: random.Random) -> bool:
        if self._whole is not None:
            return False
        with FileLock(self._lock):
            self._whole = self._path.read_bytes()
            os.truncate(self._path, dice.choice([0, 1, len(self._whole) // 2]))
        return True

    def restore(self) -> None:
        if self._whole is not None:
            with FileLock(self._lock):
                self._path.write_bytes(self._whole)
            self._whole = None
