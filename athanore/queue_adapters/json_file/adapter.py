"""A board in a JSON file that people edit and several processes change at once."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from athanore.errors import (
    BoardBrokenError,
    BoardError,
    BoardNotWritableError,
    BoardUnavailableError,
    ConfigurationError,
)
from athanore.models import BoardIdentity
from athanore.queue_adapters.document.adapter import DocumentAdapter
from athanore.queue_adapters.document.document import Document, JsonQueues, ShapeError
from athanore.queue_adapters.json_file import watchers
from athanore.queue_adapters.json_file.atomic_file import (
    Signature,
    read_file,
    remove_leftovers,
    replace_file,
)
from athanore.queue_adapters.json_file.beside import check_lock, prepare_lock
from athanore.queue_adapters.json_file.board_id import board_id
from athanore.queue_adapters.json_file.json_text import TextError, read_json, write_json
from athanore.queue_adapters.json_file.lasting import mend_of
from athanore.queue_adapters.json_file.mounts import is_mounted
from athanore.queue_adapters.user import LOGIN_NAME, User, user_name

logger = logging.getLogger("athanore.runtime.boards.board")

LOCK_TIMEOUT = 10.0
"""Seconds that a change waits for those of other processes."""

LOCK_POLL = 0.005
"""Seconds between looks at the lock while another process holds it."""

EDIT_PATIENCE = 0.5
"""Seconds that an editor may take to write the file before half a file counts as broken."""

ABSENCE_PATIENCE = 0.1
"""Seconds that the file may be away while an editor puts a new one in its place."""

EDIT_POLL = 0.01
"""Seconds between looks at a file that an editor is writing."""

_LOCK_ADVICE = (
    "have its owner give it the group and the mode of the board, or delete it while nothing that "
    "uses the board runs."
)

REPORTED_PROBLEMS = 5
"""How many unreadable tasks one warning describes."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A parsed file. A young one may miss an edit with the same signature, and is read again."""

    document: Document
    signature: Signature
    is_young: bool


class JsonFileAdapter(DocumentAdapter):
    """A board in a JSON file: `{"queues": {"Todo": [{"id": "1", "name": "Fix crash"}]}}`.

    Any number of threads and processes may use one file, and a person may edit it meanwhile. Every
    change is durable and atomic: under a lock between processes (`.board.json.lock` beside the
    file) the file is read again if it has changed, written anew beside it, and renamed. Readers
    need no lock. Fields that Athanore does not know are kept. A task that cannot be read is
    reported once, skipped, and kept as it is.

    Args:
        path: the file; `~` is expanded, and a symbolic link is followed.
        user: whom a claim assigns, and who signs the comments; None assigns nobody. By default the
            login name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        user: User = LOGIN_NAME,
    ) -> None:
        super().__init__(user_name(user))
        self.path = Path(path).expanduser().absolute()
        self._write_lock = threading.Lock()
        self._load_lock = threading.Lock()
        self._snapshot: _Snapshot | None = None
        self._reported: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"JsonFileAdapter({str(self.path)!r})"

    @property
    def place(self) -> str:
        """Where the board is, for people."""
        return str(self.path)

    def exists(self) -> bool:
        """Tell whether the file is there."""
        return self.path.exists()

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the file can be used; create a missing one with these queues.

        Raises:
            ConfigurationError: the path is no file, its folder is missing, one of them or the
                lock may not be written, or the file is mounted by itself.
            BoardBrokenError: the file is damaged.
            BoardUnavailableError: it cannot be read or created now (the disk is full).
        """
        target = self._target()
        self.check_place()
        with self._locked(target), self._translated("cannot be created"):
            remove_leftovers(target)
            if not os.path.exists(target):
                queues: JsonQueues = {name: [] for name in queue_names}
                replace_file(target, write_json({"queues": queues}), None)
        self._read()

    def change_stamp(self) -> Signature | None:
        """Return what the file system says of the file; None while an edit may still hide."""
        with self._translated("cannot be read"):
            signature = Signature.at(self.path)
        known = self._is_current(signature)
        return signature if known or (signature and not signature.is_young) else None

    def watched_by(
        self, queue_name: str, watcher: str, place: str, valid_for: timedelta
    ) -> Sequence[str]:
        """Note who watches a queue, in `.board.json.watchers` beside the file; return the others.

        Raises:
            BoardUnavailableError: the note cannot be written now.
        """
        target = self._target()
        file = target.with_name(f".{target.name}.watchers")
        with self._locked(target), self._translated(f"cannot have its note {file} written"):
            return watchers.note(file, target, queue_name, watcher, place, valid_for)

    def board_identity(self) -> BoardIdentity:
        """Tell the file from others by the note of its id beside it, and by host and path.

        The note (`.board.json.id`) goes where the folder goes: into a container, over NFS, to
        another path. In a copy of the folder it does not count.
        """
        target = self._target()
        marks = [f"{socket.gethostname()}:{target}"]
        note = target.with_name(f".{target.name}.id")
        with suppress(BoardError, OSError), self._locked(target):
            marks.insert(0, board_id(note, target))
        return BoardIdentity(tuple(marks), f"{target} on {socket.gethostname()}")

    def check_place(self) -> None:
        """Refuse a path that cannot hold a board; nothing is written.

        Raises:
            ConfigurationError: the path is no file, its folder is missing, one of them or the
                lock may not be written, or the file is mounted by itself.
        """
        target = self._target()
        board = f"The board {self.path}"
        if os.path.isdir(target):
            raise ConfigurationError(f"{board} is a folder; name a JSON file in it.")
        if not os.path.isdir(target.parent):
            raise ConfigurationError(
                f"{board} needs the folder {target.parent}, which does not exist; create it, or "
                "mend the path."
            )
        if os.path.exists(target) and not os.path.isfile(target):
            raise ConfigurationError(f"{board} is not a regular file; name a JSON file.")
        for path in (target.parent, target):
            if os.path.exists(path) and not _may_change(path):
                raise ConfigurationError(
                    f"{board} cannot be changed: no permission to write {path}."
                )
        if is_mounted(target):
            raise ConfigurationError(
                f"{board} is mounted by itself, so that it can be neither replaced nor locked; "
                "mount its folder instead."
            )
        try:
            check_lock(_lock_of(target))
        except OSError as exc:
            raise ConfigurationError(
                f"{board} cannot be changed: its lock {_lock_of(target)} cannot be taken: "
                f"{exc.strerror or exc}; {_LOCK_ADVICE}"
            ) from exc

    # --- reading ---

    def _target(self) -> Path:
        """The file itself; links are followed, so that all who use it meet at one lock."""
        return Path(os.path.realpath(self.path))

    def _read(self) -> Document:
        return self._load().document

    def _is_current(self, signature: Signature | None) -> bool:
        snapshot = self._snapshot
        return snapshot is not None and not snapshot.is_young and snapshot.signature == signature

    def _load(self) -> _Snapshot:
        """Return the file as it is now, parsed anew only if it has changed."""
        with self._translated("cannot be read"):
            snapshot = self._snapshot
            if snapshot is not None and self._is_current(Signature.at(self.path)):
                return snapshot
            with self._load_lock:
                return self._load_patiently()

    def _load_patiently(self) -> _Snapshot:
        """Parse the file; wait a moment for an editor that is in the middle of writing it."""
        started = time.monotonic()
        while True:
            signature = Signature.at(self.path)
            if (snapshot := self._snapshot) is not None and self._is_current(signature):
                return snapshot
            try:
                return self._parse()
            except BoardBrokenError:
                half_written = signature is None or signature.is_young
                if not half_written or time.monotonic() - started > EDIT_PATIENCE:
                    raise
            except FileNotFoundError:
                if snapshot is None or time.monotonic() - started > ABSENCE_PATIENCE:
                    raise
            time.sleep(EDIT_POLL)

    def _parse(self) -> _Snapshot:
        text, signature = read_file(self.path)
        last_id = self._snapshot.document.last_id if self._snapshot else 0
        try:
            document = Document.parse(read_json(text), last_id)
        except (TextError, ShapeError) as exc:
            raise BoardBrokenError(
                f"The board {self.path} is broken: {exc}. It is left as it is; mend it, and work "
                "goes on by itself."
            ) from exc
        self._report(document.problems)
        self._snapshot = _Snapshot(document, signature, signature.is_young)
        return self._snapshot

    def _report(self, problems: tuple[str, ...]) -> None:
        """Warn once of tasks that cannot be read, in one record however many there are."""
        new = [p for p in dict.fromkeys(problems) if p not in self._reported]
        self._reported = frozenset(problems)
        if not new:
            return
        more = f"; and {len(new) - REPORTED_PROBLEMS} more" if len(new) > REPORTED_PROBLEMS else ""
        logger.warning(
            "The board %s has tasks that cannot be read; they are skipped and kept: %s%s",
            self.path,
            "; ".join(new[:REPORTED_PROBLEMS]),
            more,
            extra={"action": "board_task_skipped"},
        )

    # --- changing ---

    def _change(self, change: Callable[[Document], Document]) -> Document:
        target = self._target()
        with self._locked(target):
            deadline = time.monotonic() + LOCK_TIMEOUT
            while time.monotonic() < deadline:
                snapshot = self._load()
                document = change(snapshot.document)
                if document is snapshot.document or self._write(target, document, snapshot):
                    return document
        raise BoardUnavailableError(
            f"The board {self.path} is edited all the time; nothing was changed."
        )

    def _write(self, target: Path, document: Document, snapshot: _Snapshot) -> bool:
        """Write a change of the snapshot; False if the file is no longer what it was."""
        with self._translated("cannot be written"):
            if os.path.exists(target) and not _may_change(target):
                raise PermissionError(errno.EACCES, "no permission to write the file")
            data = write_json(document.data)
            with self._load_lock:  # readers wait for the new snapshot instead of parsing the file
                signature = replace_file(target, data, snapshot.signature)
                if signature is None:
                    return False
                self._snapshot = _Snapshot(document, signature, is_young=False)
        return True

    @contextmanager
    def _locked(self, target: Path) -> Generator[None]:
        """Hold the board against other threads and processes."""
        lock_file = _lock_of(target)
        busy = (
            f"The board {self.path} is busy: the lock {lock_file} was not free within "
            f"{LOCK_TIMEOUT:g} seconds; nothing was changed."
        )
        deadline = time.monotonic() + LOCK_TIMEOUT
        if not self._write_lock.acquire(timeout=LOCK_TIMEOUT):
            raise BoardUnavailableError(busy)
        try:
            lock = FileLock(lock_file)
            try:
                with self._translated(f"cannot be changed: its lock {lock_file} cannot be taken"):
                    prepare_lock(lock_file, target)
                    lock.acquire(
                        timeout=max(0.0, deadline - time.monotonic()), poll_interval=LOCK_POLL
                    )
            except Timeout as exc:
                raise BoardUnavailableError(busy) from exc
            try:
                yield
            finally:
                lock.release()
        finally:
            self._write_lock.release()

    @contextmanager
    def _translated(self, what: str) -> Generator[None]:
        """Turn errors of the operating system into ours."""
        try:
            yield
        except (BoardError, Timeout):
            raise
        except FileNotFoundError as exc:
            raise BoardUnavailableError(
                f"The board {self.path} {what}: the file does not exist"
                f"{' any more; put it back' if self._snapshot else ''}."
            ) from exc
        except OSError as exc:
            says = f"The board {self.path} {what}: {exc.strerror or exc}"
            if (mend := mend_of(exc)) is not None:
                raise BoardNotWritableError(f"{says}; {mend}.") from exc
            raise BoardUnavailableError(f"{says}.") from exc


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _may_change(path: Path) -> bool:
    """Ask for the effective user where the platform can: that is who will write."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
