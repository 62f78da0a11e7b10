"""A real program that behaves badly in one way: `python nasty.py BEHAVIOUR ...`, prompt last."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def say(text: str) -> None:
    print(text, flush=True)


def hang() -> None:
    while True:
        time.sleep(3600)


def hangs() -> None:
    say("ready")
    hang()


def succeeds() -> None:
    say("hello from the agent")


def fails() -> None:
    print("it went wrong", file=sys.stderr)
    sys.exit(2)


def exits(code: str) -> None:
    sys.exit(int(code))


def dies_of(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])
    hang()


def ignores_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        hang()
    say("ready")
    hang()


def heeds_term() -> None:
    def last_words(number: int, frame: object) -> None:
        os.write(1, b"last words\n")  # print() may be at work, and lets nobody in
        os._exit(0)

    signal.signal(signal.SIGTERM, last_words)
    say("ready")
    hang()


def forks(count: str) -> None:
    """Leave children behind that hold the pipes, and end well."""
    for _ in range(int(count)):
        if os.fork() == 0:
            hang()
    say("parent done")


def forks_group() -> None:
    """Leave a child behind in a process group of its own, deaf to TERM."""
    if os.fork() == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("child")
        hang()
    say("parent")


def deserts() -> None:
    """Leave a process behind that cannot be known any more: no parent, session or variable.

    It waits until it is in its control group: what leaves in its first moment is not in any.
    """
    while "/athanore-" not in Path("/proc/self/cgroup").read_text():
        time.sleep(0.01)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            script = "import time; print('deserted', flush=True); time.sleep(3600)"
            command = [sys.executable, "-I", "-S", "-c", script, "deserter"]
            os.execve(sys.executable, command, {})
        os._exit(0)
    hang()


def daemonises() -> None:
    """Leave a daemon behind, by the book: double fork, setsid, all descriptors closed."""
    ready, done = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for fd in range(3):
            os.close(fd)
        os.write(done, b"x")
        hang()
    os.read(ready, 1)
    say("daemon started")


def daemonises_and_hangs() -> None:
    daemonises()
    hangs()


def escapes() -> None:
    """Have a child that keeps neither session nor environment, only its parent."""
    code = "import time; print('ready', flush=True); time.sleep(3600)"
    argv = [sys.executable, "-c", code, sys.argv[-1]]
    subprocess.Popen(argv, env={}, start_new_session=True)
    hang()


def closes_pipes() -> None:
    """Close its pipes at once, and go on until a file says that it may end."""
    os.close(1)
    os.close(2)
    while not os.path.exists(os.environ["MAY_END"]):
        time.sleep(0.01)
    sys.exit(3)


def writes(megabytes: str, newline_every: str) -> None:
    width = int(newline_every)
    block = (b"x" * (width - 1) + b"\n") * (1_000_000 // width)
    for _ in range(int(megabytes)):
        sys.stdout.buffer.write(block)


def one_line(megabytes: str) -> None:
    for _ in range(int(megabytes)):
        sys.stdout.buffer.write(b"x" * 1_000_000)
    sys.stdout.flush()


def both_streams() -> None:
    """Fill one pipe, then the other: a reader of one at a time would deadlock."""
    for name in ("stderr", "stdout", "stderr"):
        stream = getattr(sys, name)
        stream.write("y" * 999 + "\n" + "z" * 200_000 + "\n")
        stream.flush()


def invalid_utf8() -> None:
    sys.stdout.buffer.write(b"good\nb\xff\xfed\n\xc3\xa9\r\nlast \xe2\x82")


def reads_stdin() -> None:
    say(f"stdin {sys.stdin.read()!r}")


def tells() -> None:
    """Say where it is and what it was given."""
    say(f"cwd {os.getcwd()}")
    say(f"env {sorted(os.environ)}")
    say(f"prompt {sys.argv[-1]!r}")
    say(f"leads {os.getpid() == os.getsid(0) == os.getpgid(0)}")


BEHAVIOURS: dict[str, Callable[..., None]] = {
    f.__name__: f
    for f in (
        *(
            hang,
            hangs,
            succeeds,
            fails,
            exits,
            dies_of,
            ignores_term,
            heeds_term,
            forks,
            forks_group,
        ),
        *(
            deserts,
            daemonises,
            daemonises_and_hangs,
            escapes,
            closes_pipes,
            writes,
            one_line,
            both_streams,
            invalid_utf8,
        ),
        *(reads_stdin, tells),
    )
}

if __name__ == "__main__":
    BEHAVIOURS[sys.argv[1]](*sys.argv[2:-1])
