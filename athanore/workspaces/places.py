"""Where the folders of tasks are, what is remembered of them, and who has them.

    ROOT/<app>/<task>/record.json    what is remembered of a task's folder; it outlives the folder
    ROOT/<app>/<task>/lock           held by the process whose attempt has the folder
    ROOT/<app>/<task>/<folder>       what the agent is given

Ids and names are anybody's texts. In paths they are lower-case letters, digits and dashes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import unicodedata
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from athanore.errors import WorkspaceError

logger = logging.getLogger("athanore.worker")

_LONGEST = 40
_DIGEST = 10
_ENDS_LIKE_A_DIGEST = re.compile(rf"(^|-)[0-9a-f]{{{_DIGEST}}}$")
_LOOK = 0.1  # seconds between looks at a lock that somebody has
_SAID_AFTER = 10.0  # seconds

LOCK_WAIT = timedelta(minutes=10)
"""How long a folder is waited for that another attempt still has."""


def slug(text: str) -> str:
    """A text in lower-case letters, digits and dashes; "" if nothing of it is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST].strip("-")


def component(text: str) -> str:
    """A text as the name of a folder: another one for each text, also where case is ignored.

    Short texts of lower-case letters, digits and single dashes stay as they are.
    """
    plain = slug(text)
    if plain and plain == text and not _ENDS_LIKE_A_DIGEST.search(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{plain}-{digest}" if plain else digest


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a task's folder.

    Attributes:
        number: how many attempts have had it.
        opened_at, closed_at: when the last one began and ended, in ISO 8601; `closed_at` is "" as
            long as its end is not known.
        outcome: how that one ended.
        prepared: what the folder was made ready with, to see whether that has to be done again.
        shared: the commit that this host has shared last, or has gone on from.
        is_unshared: something may be here that was not shared.
        tell: what a person has to be told of it still.
        lfs: which objects of Git LFS `setup` has fetched, as a digest; "" for none.
        is_fresh: no agent has had the folder since it was made, and LFS has nothing there but what
            `setup` fetches.
    """

    task_id: str
    task_name: str = ""
    branch: str = ""
    base: str = ""
    number: int = 0
    opened_at: str = ""
    closed_at: str = ""
    outcome: str = ""
    prepared: str = ""
    shared: str = ""
    is_unshared: bool = False
    tell: str = ""
    lfs: str = ""
    is_fresh: bool = False

    @property
    def is_open(self) -> bool:
        """True from the beginning of an attempt until its end is known."""
        return bool(self.opened_at) and not self.closed_at

    @property
    def used_at(self) -> datetime:
        """When an attempt last began or ended there."""
        with suppress(ValueError):
            return datetime.fromisoformat(self.closed_at or self.opened_at)
        return datetime.fromtimestamp(0, UTC)


_RECORDS = TypeAdapter(Record)


class Place:
    """What belongs to one task.

    Args:
        root: where all folders are.
        name: what the task's folder is called.
    """

    def __init__(self, root: Path, app: str, task_id: str, name: str) -> None:
        self.task_id = task_id
        self.home = root / component(app) / component(task_id)
        self.folder = self.home / name
        self._root = root
        self._record = self.home / "record.json"
        self.lock = FileLock(self.home / "lock", thread_local=False)

    def make(self) -> None:
        """Make what there is to make, but not the folder itself.

        Raises:
            WorkspaceError: it cannot be made, or leads out of the root.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise WorkspaceError(f"{self.home} cannot be made: {exc.strerror or exc}.") from exc
        self.check()

    def check(self) -> None:
        """Refuse a way to the folder that leads over symbolic links out of the root.

        Raises:
            WorkspaceError: there is one.
        """
        for part in (self.home, self.home.parent):
            if part.is_symlink():
                raise WorkspaceError(
                    f"{part} is a symbolic link, and Athanore made a folder there; remove the link."
                )

    def read(self) -> Record:
        """What is remembered; an empty record where nothing is, or it is broken."""
        try:
            kept = _RECORDS.validate_json(self._record.read_bytes())
        except (OSError, ValueError):
            return Record(self.task_id)
        return replace(kept, task_id=self.task_id)

    def write(self, record: Record) -> None:
        """Remember a record.

        Raises:
            WorkspaceError: it cannot be written.
        """
        new = self._record.with_suffix(".new")
        try:
            new.write_text(json.dumps({"schema": 1, **asdict(record)}), encoding="utf-8")
            os.replace(new, self._record)
        except OSError as exc:
            raise WorkspaceError(f"{new} cannot be written: {exc.strerror or exc}.") from exc


def places(root: Path, app: str, name: str) -> Iterator[Place]:
    """The places of an app's tasks, by task id."""
    found: list[str] = []
    folder = root / component(app)
    if not folder.is_symlink():
        for record in folder.glob("*/record.json"):
            with suppress(OSError, ValueError):
                kept = _RECORDS.validate_json(record.read_bytes())
                # An agent may have written another's id there.
                if component(kept.task_id) == record.parent.name:
                    found.append(kept.task_id)
    for task_id in sorted(found):
        yield Place(root, app, task_id, name)


def is_held(lock: FileLock) -> bool:
    """Tell whether some process has a lock."""
    if not Path(lock.lock_file).exists():
        return False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


async def acquire(lock: FileLock, limit: timedelta = LOCK_WAIT) -> None:
    """Take a lock between processes, without blocking the event loop.

    Raises:
        WorkspaceError: somebody else has it for longer than the limit.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    until, said = began + limit.total_seconds(), False
    while True:
        try:
            lock.acquire(blocking=False)
            return
        except Timeout:
            if loop.time() >= until:
                raise WorkspaceError(
                    f"{Path(lock.lock_file).parent} has been in use for more than "
                    f"{limit.total_seconds() / 60:g} minutes."
                ) from None
        except OSError as exc:
            raise WorkspaceError(f"{lock.lock_file} cannot be locked: {exc}.") from exc
        if not said and loop.time() - began > _SAID_AFTER:
            said = True
            logger.info(
                "Waiting for %s, which another attempt has (%s).",
                Path(lock.lock_file).parent,
                Path(lock.lock_file).name,
                extra={"action": "workspace_awaited"},
            )
        await asyncio.sleep(_LOOK)


@asynccontextmanager
async def held(lock: FileLock, limit: timedelta = LOCK_WAIT) -> AsyncGenerator[None]:
    """Have a lock between processes in a block; see `acquire`."""
    await acquire(lock, limit)
    try:
        yield
    finally:
        lock.release()
