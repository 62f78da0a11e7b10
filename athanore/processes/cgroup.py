"""A control group of the kernel for each agent, where this process may make one (cgroup v2).

A process cannot leave its group by forking, by a session of its own or by clearing its environment,
so in a group nothing of an agent escapes its end. Making one needs write access to the group in
which this process is: systemd gives it with `Delegate=yes`, and root has it on most hosts. In a
container it is mostly missing. Everything here does nothing there, and says nothing.

The reaper imports this module, too: the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re

_PREFIX = "athanore-"
_OWN = re.compile(r"^0::(/.*)$", re.MULTILINE)
# Field 4 is what of the hierarchy is mounted, field 5 where.
_MOUNTED = re.compile(r"^\S+ \S+ \S+ (/\S*) (/\S*) .* - cgroup2 ", re.MULTILINE)

PROC = "/proc"
"""Where the system says in which group a process is, and where groups are mounted."""


def create(mark: str, proc: str = PROC) -> str:
    """Make the group of an agent; return its folder, or "" where that cannot be done."""
    base = _base(proc)
    if not base:
        return ""
    folder = os.path.join(base, f"{_PREFIX}{mark}")
    try:
        os.mkdir(folder)
    except OSError:
        return ""
    if not os.access(os.path.join(folder, "cgroup.kill"), os.W_OK):  # a kernel before 5.14
        remove(folder)
        return ""
    return folder


def enter(folder: str, pid: int) -> bool:
    """Put a process into a group, with all that it starts from then on."""
    return _write(os.path.join(folder, "cgroup.procs"), str(pid))


def members(folder: str) -> set[int]:
    """The pids of the processes in a group, and in groups that they have made in it."""
    found: set[int] = set()
    for inner, _, _ in os.walk(folder):
        with contextlib.suppress(OSError, ValueError):
            found.update(map(int, _read(os.path.join(inner, "cgroup.procs")).split()))
    return found - {0}  # of another namespace of pids


def kill(folder: str) -> None:
    """Have the kernel kill all processes of a group, those that are just being forked as well."""
    _write(os.path.join(folder, "cgroup.kill"), "1")


def remove(folder: str) -> None:
    """Remove a group without processes."""
    for inner, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(inner)


def left_over(proc: str = PROC) -> dict[str, str]:
    """The groups that are beside ours, of this worker or of others: folders by mark."""
    base = _base(proc)
    if not base:
        return {}
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(base) if name.startswith(_PREFIX)]
        return {name.removeprefix(_PREFIX): os.path.join(base, name) for name in names}
    return {}


def free_memory(folder: str = "") -> int | None:
    """Bytes that the groups of this process may still take; None if nothing bounds them.

    Args:
        folder: of the innermost group; by default that of this process.
    """
    found: list[int] = []
    folder = folder or _base(PROC)
    while folder and os.path.exists(os.path.join(folder, "cgroup.procs")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            most = int(_read(os.path.join(folder, "memory.max")))  # or the word "max"
            used = int(_read(os.path.join(folder, "memory.current")))
            files = _read(os.path.join(folder, "memory.stat")).split("\ninactive_file ")[1]
            found.append(max(0, most - used + int(files.split()[0])))  # read again when needed
        folder = os.path.dirname(folder)
    return min(found, default=None)


def _base(proc: str) -> str:
    """The folder of the group in which this process is; "" where there is none."""
    try:
        own = _OWN.search(_read(f"{proc}/self/cgroup"))
        mounted = _MOUNTED.search(_read(f"{proc}/self/mountinfo"))
    except OSError:
        return ""
    if own is None or mounted is None:
        return ""
    root, place = mounted.groups()
    path = own[1]
    if root != "/":
        if path != root and not path.startswith(f"{root}/"):
            return ""  # it is in a part that is not mounted here
        path = path.removeprefix(root)
    return os.path.join(place, path.lstrip("/"))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True
