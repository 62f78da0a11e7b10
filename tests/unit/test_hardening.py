"""What an agent can read of the processes that have secrets, as a program of the same user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from athanore.processes.family import Family
from athanore.processes.supervisor import Reaper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc and prctl")

SCRIPT = """
import ctypes, os, subprocess, time
from athanore.processes import identity
from athanore.processes import family as processes
from athanore.launch.stopping import in_foreground

if os.getuid() == 0:  # root reads everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user hides a process by itself

async def service(stop):
    command = ["cat", f"/proc/{os.getpid()}/environ"]
    agent = subprocess.run(command, capture_output=True, env={"PATH": os.environ["PATH"]})
    print("read" if b"s3cret-of-the-worker" in agent.stdout else "hidden")
    # What supervision needs of /proc works all the same.
    assert identity.is_gone(identity.process()) is False
    family = processes.Family.new()
    child = subprocess.Popen(["sleep", "100"], env=family.env, start_new_session=True)
    try:
        led = [m.pid for m in processes.find([family.led_by(child.pid)])]
        assert led == [child.pid], led
        deadline = time.monotonic() + 60  # its environment shows up a moment later
        while [m.pid for m in processes.find([family])] != [child.pid]:
            assert time.monotonic() < deadline, "it is not found by its mark"
    finally:
        child.kill()
        child.wait()

in_foreground(service)
"""


@pytest.mark.parametrize(("debuggable", "seen"), [("", "hidden"), ("1", "read")])
def test_an_agent_cannot_read_the_environment_of_a_worker(debuggable: str, seen: str) -> None:
    env = {
        **os.environ,
        "ATHANORE_API_KEY": "s3cret-of-the-worker",
        "ATHANORE_DEBUGGABLE": debuggable,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [seen]


def test_the_reaper_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANORE_API_KEY", "s3cret")
    monkeypatch.setenv("SOMEBODYS_TOKEN", "s3cret")
    reaper, family = Reaper(), Family.new()
    reaper.watch(family)
    try:
        found = Path(f"/proc/{reaper.pid}/environ").read_bytes()
        assert b"s3cret" not in found
    finally:
        reaper.release(family)
        reaper.close()
