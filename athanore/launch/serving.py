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
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path

from athanore.version import __version__

_TRIES = 5
_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Serving:
    """Where an app is served.

    Attributes:
        url: the address of its task API on this machine.
        needs_token: callers need one (`api_auth="token"`).
        prefect: the address of the API of its Prefect.
        code: the file that the app was imported from, and when that was changed last, in ns.
        version: the version of Athanore.
        pid: the process.
    """

    url: str
    needs_token: bool
    prefect: str
    code: tuple[str, int]
    version: str = __version__
    pid: int = 0


def find_serving(reference: str, *, changed_too: bool = False) -> Serving | None:
    """Find out where an app is served; None if it is not, or not as a command would see it.

    That is so when its code has been changed since, or PREFECT_API_URL names another Prefect.

    Args:
        reference: the app, as `run.py:dispatcher`, from the present folder.
        changed_too: also if its code has been changed since.
    """
    try:
        with _place(reference).open("rb") as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None  # nobody holds it
            found = Serving(**json.load(file))
        is_changed = not changed_too and _changed(found.code[0]) != found.code[1]
        if found.version != __version__ or is_changed:
            return None
    except (OSError, ValueError, TypeError, LookupError):
        return None
    named = os.environ.get("PREFECT_API_URL", "").strip().rstrip("/")
    return found if named in ("", found.prefect.rstrip("/")) else None


@contextlib.contextmanager
def serving(
    reference: str, code: Path, address: tuple[str, int], prefect: str, *, needs_token: bool
) -> Generator[Callable[[], None]]:
    """Have commands find the app while the block runs. That they cannot is no reason not to serve.

    The value is to be called when the code was taken over as it is now.

    Args:
        reference: the app, as `run.py:dispatcher`, from the present folder.
        code: the file that the app was imported from.
        address: what the task API is bound to, host and port.
    """
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    place = _place(reference)
    renew = _nothing
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            file = stack.enter_context(open(descriptor, "r+", encoding="utf-8"))
            if _locked(descriptor):
                stack.callback(place.unlink, missing_ok=True)

                def write() -> None:
                    code_of = (str(code), _changed(str(code)))
                    note = Serving(url, needs_token, prefect, code_of, pid=os.getpid())
                    file.seek(0)
                    file.truncate()
                    json.dump(asdict(note), file)
                    file.flush()

                write()
                renew = write
        yield renew


def _nothing() -> None:
    """There is no note to renew."""


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
