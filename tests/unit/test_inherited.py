"""What a process has from its launcher: signals, limits, and the children of others."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from athanore.processes import inherited

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit, prctl and /proc")

LOW = 256

APP = """
import asyncio, json, os, resource, signal, sys
from athanore.launch.stopping import in_foreground
from athanore.processes.supervisor import supervise
from athanore.agent_adapters.common.program import exit_code, spawn

async def service(stop):
    async with supervise() as agent:
        ready = f"until [ -e {sys.argv[1]} ]; do sleep 0.05; done"
        script = f"{ready}; ulimit -Sn; grep SigIgn /proc/self/status; exit 3"
        process = spawn(["sh", "-c", script], cwd=None, env={**os.environ, **agent.env})
        agent.led_by(process.pid)
        open(sys.argv[1], "w").close()
        code = await exit_code(process.pid)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    agents_limit, ignored = process.stdout.read().splitlines()
    print(json.dumps([code, limit, int(agents_limit), ignored.decode()]), flush=True)
    stop.bind()
    await stop.requested()
    print("asked to stop", flush=True)

in_foreground(service)
"""


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})


def lower_limits() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, hard))


def start_in_the_background() -> None:
    """As a shell without job control starts what ends in `&`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def hear_hangups() -> None:
    """Also where the tests themselves run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def nothing() -> None:
    """Leave nothing but what every launcher leaves."""


@pytest.mark.parametrize(
    ("launcher", "ending"),
    [
        (nothing, signal.SIGHUP),
        (ignore_children, signal.SIGTERM),
        (block_signals, signal.SIGTERM),
        (lower_limits, signal.SIGTERM),
        (ignore_hangup, signal.SIGTERM),
        (start_in_the_background, signal.SIGTERM),
    ],
)
def test_what_a_launcher_may_leave(
    launcher: Callable[[], object], ending: signal.Signals, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = LOW if launcher is lower_limits else soft
    command = [sys.executable, "-c", APP, str(tmp_path / "begin")]

    def begin() -> None:
        hear_hangups()
        launcher()

    with subprocess.Popen(command, stdout=PIPE, text=True, preexec_fn=begin) as app:
        try:
            assert app.stdout
            *told, of_agent = json.loads(app.stdout.readline())
            assert told == [3, max(soft, min(hard, inherited.MOST_DESCRIPTORS)), soft]
            of_app = Path(f"/proc/{app.pid}/status").read_text()
            assert ignores(signal.SIGHUP, of_app) is (launcher is ignore_hangup)
            assert not ignores(signal.SIGINT, of_agent)
            assert not ignores(signal.SIGQUIT, of_agent)
            app.send_signal(ending)
            assert app.stdout.read() == "asked to stop\n"
            assert app.wait(60) == 0
        finally:
            app.kill()


def ignores(number: signal.Signals, status: str) -> bool:
    """Whether a process of this /proc/PID/status ignores a signal."""
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(ignored & 1 << (number - 1))


ADOPTER = """
import ctypes, os, subprocess, sys, time
from athanore.processes import family as processes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a subreaper gets the orphans, as pid 1 does
# Three orphans: one in the agent's session, one in its own that lives on, one that has ended.
script = '''
import os, subprocess, sys
tail = ["sleep", "1000"]
subprocess.Popen(tail)
subprocess.Popen(tail, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    ended = subprocess.Popen(["true"])  # kept: Popen.__del__ would reap it
    os._exit(0)
os.wait()
os._exit(3)
'''
mine = subprocess.Popen(["sh", "-c", "exit 7"])
own = subprocess.Popen(["sh", "-c", "exit 8"], start_new_session=True)
family = processes.Family.new()
command, env = [sys.executable, "-c", script], {**os.environ, **family.env}
agent = subprocess.Popen(command, env=env, start_new_session=True)
family = family.led_by(agent.pid)
os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT)
for other in (mine, own):
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)

def children():
    return [p.pid for p in processes.snapshot().values() if p.parent == os.getpid()]

deadline = time.monotonic() + 60
while len(children()) < 6:
    assert time.monotonic() < deadline, children()
    time.sleep(0.01)
stopping = processes.Stopping([family])
while (pause := stopping.step()) is not None:
    time.sleep(pause)
assert sorted(children()) == sorted([mine.pid, own.pid, agent.pid]), children()
assert [mine.wait(), own.wait(), agent.wait()] == [7, 8, 3]
"""


def test_orphans_that_become_ours_are_reaped_and_nobody_elses_exit_code_is() -> None:
    command = [sys.executable, "-c", ADOPTER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
