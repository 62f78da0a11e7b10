"""Hosts of their own on one machine: a network, a name and a process table each (Linux, root)."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from psutil import NoSuchProcess, Process

from tests.support import stop_group, wait_until

_NOWHERE = "02:00:00:00:00:ff"
"""An address that no interface has: frames to it vanish without an error."""


def require() -> None:
    """Skip the test where hosts cannot be made; with CI=true it fails there."""
    if (reason := _what_is_missing()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _what_is_missing() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts of their own need Linux and root"
    missing = [name for name in ("ip", "unshare", "hostname") if shutil.which(name) is None]
    if missing:
        return f"hosts of their own need {', '.join(missing)} (iproute2, util-linux)"
    name = f"athtry{os.getpid()}"
    made = _ip("netns", "add", name)
    _ip("netns", "del", name)
    if made.returncode:
        return f"this machine lets nobody make a network namespace: {made.stderr.strip()}"
    return None


class Host:
    """One host, linked to this machine; `hub` is this machine's address there."""

    def __init__(self, number: int, name: str) -> None:
        self.name = name
        self.hub = f"10.213.{number}.1"
        self._address = f"10.213.{number}.2"
        self._space = f"ath{os.getpid()}{name}"
        self._here, self._there = f"athost{number}", "eth0"

    def begin(self) -> bool:
        """Make the namespace and its link; returns whether the number was still free."""
        space = self._space
        _ip("netns", "add", space).check_returncode()
        link = ["type", "veth", "peer", "name", self._there, "netns", space]
        made = _ip("link", "add", self._here, *link)
        if made.returncode:
            _ip("netns", "del", space)
            if "File exists" in made.stderr:  # of another run of these tests
                return False
            made.check_returncode()
        return True

    def link(self) -> None:
        """Give both ends of the link their addresses."""
        space = self._space
        for command in (
            f"addr add {self.hub}/30 dev {self._here}",
            f"link set {self._here} up",
            f"-n {space} addr add {self._address}/30 dev {self._there}",
            f"-n {space} link set {self._there} up",
            f"-n {space} link set lo up",
        ):
            _ip(*command.split()).check_returncode()
        self._macs = self._mac("-n", space, dev=self._there), self._mac(dev=self._here)
        self.connect()

    def _mac(self, *where: str, dev: str) -> str:
        return _ip(*where, "-o", "link", "show", dev).stdout.partition("link/ether ")[2].split()[0]

    def connect(self) -> None:
        """Let packets through, both ways."""
        _ip("-n", self._space, "route", "del", "unreachable", f"{self.hub}/32")
        self._point_to(*self._macs)

    def cut(self, *, sends: bool = True, hears: bool = True) -> None:
        """Let packets vanish: nothing answers, not even with an error.

        Args:
            sends: those that the host sends.
            hears: those that are sent to it.
        """
        there, here = self._macs
        self._point_to(_NOWHERE if hears else there, _NOWHERE if sends else here)

    def refuse(self) -> None:
        """Have what the host sends be refused, with an error at once."""
        _ip("-n", self._space, "route", "add", "unreachable", f"{self.hub}/32").check_returncode()

    def _point_to(self, there: str, here: str) -> None:
        end = ["nud", "permanent"]
        _ip("neigh", "replace", self._address, "lladdr", there, "dev", self._here, *end)
        _ip("-n", self._space, "neigh", "replace", self.hub, "lladdr", here, "dev", self._there,
            *end).check_returncode()  # fmt: skip

    @contextmanager
    def running(self, *command: str, cwd: Path, env: dict[str, str]) -> Generator[Process]:
        """Run a command on the host; at the end all that it started is killed.

        Yields the command's own process, the first one of the host's process table.
        """
        own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = 'hostname "$0" && exec "$@"'
        with (cwd / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._space, *own, "sh", "-c", script, self.name, *command],
                cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            first = wait_until("the command runs", lambda: _first_of(process.pid), 30)
            assert first is not None
            yield first
        finally:
            stop_group(process, 1)

    def unmake(self) -> None:
        """Remove the namespace, and the link with it."""
        _ip("link", "del", self._here)
        _ip("netns", "del", self._space)


@contextmanager
def hosts(*names: str) -> Generator[list[Host]]:
    """Make hosts; the first numbers that nobody else uses."""
    numbers = iter(range(255))
    with ExitStack() as stack:
        made: list[Host] = []
        for name in names:
            host = next(h for n in numbers if (h := Host(n, name)).begin())
            stack.callback(host.unmake)
            host.link()
            made.append(host)
        yield made


@contextmanager
def relayed(port: int, addresses: list[str]) -> Generator[None]:
    """Make a port of 127.0.0.1 reachable at other addresses of this machine.

    As a proxy does, it tells the server behind it the host that the server answers to.
    """
    loop = asyncio.new_event_loop()
    named = {f"Host: {address}:{port}\r\n".encode() for address in addresses}
    host = f"Host: 127.0.0.1:{port}\r\n".encode()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                for other in named:
                    data = data.replace(other, host)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    for address in addresses:
        loop.run_until_complete(asyncio.start_server(relay, address, port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _first_of(pid: int) -> Process | None:
    """The first process of a table of its own, below the one that made the table."""
    try:
        below = Process(pid).children(recursive=True)
        return next((p for p in below if p.name() not in ("ip", "unshare", "sh")), None)
    except NoSuchProcess:
        return None


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
