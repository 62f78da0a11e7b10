"""The agent of the chaos suite: does one attempt, well or badly as its seed says, and records it.

Only the standard library, because hundreds are started. The record is a file that it appends one
line to for everything that it did; two locks, which the kernel takes back when the last process
that holds them has died, tell whether another agent of the task lives, and how many do in all.
"""

import fcntl
import json
import os
import random
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, NoReturn

SITE = os.environ["CHAOS_SITE"]
SEED = os.environ["CHAOS_SEED"]
LIMIT = int(os.environ["CHAOS_LIMIT"])
TASK = os.environ["ATHANORE_TASK_ID"]
QUEUE = os.environ["ATHANORE_QUEUE"]
ATTEMPT = int(os.environ["ATHANORE_ATTEMPT"])
NEXT = {"Todo": "Review", "Review": "Done"}
PATIENCE = 60.0

ME = uuid.uuid4().hex[:12]
RECORD = os.open(f"{SITE}/record.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(event: str, **more: object) -> None:
    """Append one line to the record."""
    line = {"event": event, "agent": ME, "task": TASK, "queue": QUEUE, "attempt": ATTEMPT}
    whole = line | {"pid": os.getpid(), "time": time.time()} | more
    os.write(RECORD, (json.dumps(whole) + "\n").encode())


def lock(name: str) -> bool:
    """Take a lock for as long as this process, or a child that it forks, lives."""
    file = os.open(f"{SITE}/locks/{name}", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    return True


def end(outcome: str, code: int) -> NoReturn:
    note("end", outcome=outcome)
    os._exit(code)


def call(path: str, body: dict[str, Any], key: str | None = None) -> None:
    """Call the task API, again and again while it is away."""
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {os.environ['ATHANORE_TOKEN']}",
    }
    if key:
        headers["Idempotency-Key"] = key
    request = urllib.request.Request(
        f"{os.environ['ATHANORE_API_URL']}/tasks/{TASK}{path}", json.dumps(body).encode(), headers
    )
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                note("refused", code=error.code, answer=error.read().decode()[:300])
                end("refused", 3)
        except OSError:
            pass
        if time.monotonic() > deadline:
            end("no API", 4)
        time.sleep(0.3)


def comment(what: str) -> None:
    text = f"{what} {QUEUE} {ATTEMPT} {ME}"
    note("commenting", text=text)
    call("/comments", {"comment": text}, key=f"{what}-{ME}")
    note("commented", text=text)


def move() -> None:
    note("moving", to=NEXT[QUEUE])
    call("/move", {"target_queue": NEXT[QUEUE]})
    note("moved", to=NEXT[QUEUE])


def leave_a_daemon() -> None:
    """Leave a process behind that holds the task's lock, in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in range(3):
            os.close(number)
        time.sleep(3600)


def hang(deaf: bool) -> NoReturn:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("hanging")
    while True:
        time.sleep(3600)


def main() -> NoReturn:
    if not lock(f"task-{TASK}"):
        note("overlap")
    if not any(lock(f"slot-{number}") for number in range(LIMIT)):
        note("too many")
    fate = random.Random(f"{SEED}/{TASK}/{QUEUE}/{ATTEMPT}")
    hopeless = random.Random(f"{SEED}/{TASK}/{QUEUE}").random() < 0.02
    note("start")
    comment("Begun")
    work = os.environ["CHAOS_WORK"]
    time.sleep(float(work) if work else fate.uniform(0.1, 2.0))
    dice = 0.0 if work else 0.8 if hopeless else fate.random()
    moves = fate.random() < 0.5
    if 0.80 <= dice < 0.88:
        print("it went wrong", file=sys.stderr, flush=True)
        end("failed", 1)
    if 0.88 <= dice < 0.91:
        hang(deaf=dice < 0.89)
    if 0.91 <= dice < 0.93:
        note("end", outcome="died")
        os.kill(os.getpid(), signal.SIGSEGV)
    if 0.93 <= dice < 0.96:
        leave_a_daemon()
    if 0.96 <= dice < 0.97:
        for _ in range(200):
            print("x" * 9_999)
    comment("Done")
    if moves or dice >= 0.97:
        move()
    if dice >= 0.98:
        end("failed after its move", 1)
    time.sleep(fate.uniform(0.0, 0.5))
    end("ok", 0)


main()
