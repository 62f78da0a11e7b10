"""A note on this machine of where an app's task API is, for commands that are given beside it.

A command that finds it asks the app, which has everything imported and connected, and need import
neither Prefect nor the app's code. The process that serves holds a lock on the note while it lives,
so that one of a process that was killed counts no more. Nothing here imports much.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from athanore.routing.scripts import code_file
from athanore.version import __version__

if TYPE_CHECKING:
    from athanore.dispatcher import AgentDispatcher

_TRIES = 5
_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Serving:
    """Where an app is served.

    Attributes:
        url: the address of its task API on this machine.
        needs_token: callers need one (`api_auth="token"`).
        prefect: the address of the API of its Prefect; empty while that is starting.
        code: the file that the app was imported from, and when that was changed last, in ns.
        version: the version of Athanore.
        pid: the process.
        host: its host: the folder of the note may be another one's, too.
        since: when it began to serve, in seconds since 1970. A process that begins anew keeps its
            number, and not this.
        is_ready: it answers commands; before that it is starting.
        restarts: it begins anew when it is told to; see `athanore.launch.renewal.restarting`.
        refusals: how often it has refused to.
        refused: why, the last time.
    """

    url: str
    needs_token: bool
    prefect: str
    code: tuple[str, int]
    version: str = __version__
    pid: int = 0
    host: str = ""
    since: float = 0.0
    is_ready: bool = True
    restarts: bool = False
    refusals: int = 0
    refused: str = ""


class Note:
    """What commands are told of a process, for as long as it serves."""

    def __init__(self, first: Serving, file: TextIO | None) -> None:
        self._now = first
        self._file = file
        self._write()

    def tell(self, **changes: Any) -> None:
        """Change some fields of `Serving`."""
        self._now = replace(self._now, **changes)
        self._write()

    def refuse(self, why: str) -> None:
        """Say that it does not begin anew."""
        self.tell(refusals=self._now.refusals + 1, refused=why)

    def renew(self) -> None:
        """Say that it has the code as that is now."""
        with contextlib.suppress(OSError):
            self.tell(code=_as_it_is(self._now.code[0]))

    def _write(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            text = json.dumps(asdict(self._now))
            self._file.seek(0)
            self._file.write(text)
            self._file.truncate()
            self._file.flush()


def find_serving(
    reference: str, *, changed_too: bool = False, starting_too: bool = False
) -> Serving | None:
    """Find out where an app is served; None if it is not, or not as a command would see it.

    That is so when its code or Athanore has been changed since, or PREFECT_API_URL names another
    Prefect. Code that is no Python (somebody is writing it) does not count: nobody can import it.

    Args:
        reference: the app, as `run.py:dispatcher`, from the present folder.
        changed_too: also if its code, or Athanore, has been changed since.
        starting_too: also if it does not answer commands yet.
    """
    try:
        with _place(reference).open("rb") as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None  # nobody holds it
            said = json.load(file)
        found = Serving(**{k: v for k, v in said.items() if k in Serving.__dataclass_fields__})
        is_changed = found.version != __version__ or _is_newer(*found.code)
        if (is_changed and not changed_too) or not (found.is_ready or starting_too):
            return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    named = os.environ.get("PREFECT_API_URL", "").strip().rstrip("/")
    return found if named in ("", found.prefect.rstrip("/")) or not found.prefect else None


@contextlib.contextmanager
def serving(
    reference: str,
    code: Path,
    address: tuple[str, int],
    prefect: str,
    *,
    needs_token: bool,
    is_ready: bool = True,
) -> Generator[Note]:
    """Have commands find the app while the block runs. That they cannot is no reason not to serve.

    Args:
        reference: the app, as `run.py:dispatcher`, from the present folder.
        code: the file that the app was imported from.
        address: what the task API is bound to, host and port.
        prefect: the address of the API of its Prefect; empty while that is starting.
        is_ready: it answers commands already.
    """
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    place = _place(reference)
    first = Serving(
        url,
        needs_token,
        prefect,
        (str(code), 0),
        pid=os.getpid(),
        host=socket.gethostname(),
        since=time.time(),
        is_ready=is_ready,
    )
    with contextlib.ExitStack() as stack:
        mine = None
        with contextlib.suppress(OSError):
            first = replace(first, code=_as_it_is(str(code)))
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            file = stack.enter_context(open(descriptor, "r+", encoding="utf-8"))
            if _locked(descriptor):
                stack.callback(place.unlink, missing_ok=True)
                mine = file
        yield Note(first, mine)


def noted(
    dispatcher: AgentDispatcher, reference: str, api_socket: socket.socket, prefect_api: str = ""
) -> contextlib.AbstractContextManager[Note]:
    """Have commands find the app, whose task API listens on this socket; see `serving`.

    Args:
        prefect_api: of the Prefect that it has; empty while that is starting.
    """
    host, port = api_socket.getsockname()[:2]
    return serving(
        reference,
        code_file(reference),
        (host, port),
        prefect_api,
        needs_token=dispatcher.settings.api_auth == "token",
        is_ready=bool(prefect_api),
    )


def _as_it_is(code: str) -> tuple[str, int]:
    return code, _changed(code)


def _locked(descriptor: int) -> bool:
    """Take the lock; False if another process serves this app. A command holds it for a moment."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _is_newer(path: str, changed: int) -> bool:
    """Tell whether there is other code than at a time, as far as it can be imported."""
    if _changed(path) == changed:
        return False
    try:
        compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _changed(path: str) -> int:
    return os.stat(path).st_mtime_ns


def _place(reference: str) -> Path:
    """The note of an app: that of a module is one of the folder in which it is imported."""
    location, _, attribute = reference.partition(":")
    where = (
        str(Path(location).resolve())
        if location.endswith(".py")
        else f"{Path.cwd().resolve()}:{location}"
    )
    digest = hashlib.sha256(f"{where}:{attribute}".encode()).hexdigest()[:24]
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    return home / "athanore" / "serving" / f"{digest}.json"
