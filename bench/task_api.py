"""The task API: what agents call, and what they say on its event stream."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx

from bench.http import Load, load
from bench.rig import PROGRAMS, Rig, RouteOptions
from bench.table import Row, percentile
from tests.support import free_port, wait_until

_CONNECTIONS = 4
_TASKS = 20
_COMMENT = b'{"comment": "The tests pass, moving it on."}'

# A line ten times a second or so, each with the time at which it was written.
_SPEAKER = """\
import sys, time
for _ in range(int(sys.argv[1])):
    print("said", time.time(), flush=True)
    time.sleep(0.13)
"""


def requests(rig: Rig) -> Iterator[Row]:
    """Reading a task and commenting on it, beside a bare FastAPI app that returns as many bytes."""
    sizes = rig.sizes
    with rig.app("api") as app:
        ids = app.board.add("Backlog", _TASKS)
        task, other = f"{app.api_url}/tasks/{ids[0]}", f"{app.api_url}/tasks/{ids[1]}"
        body = httpx.get(task, trust_env=False).raise_for_status().content
        comment = httpx.post(
            f"{other}/comments", content=_COMMENT, trust_env=False,
            headers={"Content-Type": "application/json"},
        ).raise_for_status().content  # fmt: skip
        with _bare(rig, body, comment) as bare:
            reads = _beside(f"{bare}/tasks/{ids[0]}", task, sizes.reads, None)
            comments = _beside(
                f"{bare}/tasks/{ids[1]}/comments", f"{other}/comments", sizes.comments, _COMMENT
            )
    for what, aim, met, (theirs, ours) in (
        (
            "GET /tasks/{id}",
            "a quarter of the bare app's",
            reads[1].per_second >= reads[0].per_second / 4,
            reads,
        ),
        ("a comment", "250 requests/s", comments[1].per_second >= 250, comments),
    ):
        yield Row(
            "api",
            f"task API: {what}, {_CONNECTIONS} connections, beside a bare FastAPI app with the "
            "same bytes",
            aim,
            f"{ours.per_second:.0f} requests/s, p99 {ours.p99 * 1000:.0f} ms; bare "
            f"{theirs.per_second:.0f} requests/s, p99 {theirs.p99 * 1000:.0f} ms",
            met,
            {"ours": ours, "bare": theirs},
        )


def _beside(bare: str, ours: str, count: int, body: bytes | None) -> tuple[Load, Load]:
    asyncio.run(load(ours, max(4, count // 20), _CONNECTIONS, body))
    asyncio.run(load(bare, max(4, count // 20), _CONNECTIONS, body))
    return (
        asyncio.run(load(bare, count, _CONNECTIONS, body)),
        asyncio.run(load(ours, count, _CONNECTIONS, body)),
    )


@contextmanager
def _bare(rig: Rig, task: bytes, comment: bytes) -> Generator[str]:
    name = rig.name("bare")
    files = [rig.folder / f"{name}.task", rig.folder / f"{name}.comment"]
    for file, content in zip(files, (task, comment), strict=True):
        file.write_bytes(content)
    port = free_port()
    command = [sys.executable, str(PROGRAMS / "bare.py"), str(port), *map(str, files)]
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/tasks/1", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    with rig.process(command, rig.environment(rig.folder / "client"), name):
        wait_until("the bare app answers", answers, 60)
        yield url


def events(rig: Rig) -> Iterator[Row]:
    """From a line that an agent writes to the client that reads it on the event stream."""
    speaker = rig.folder / "speaker.py"
    speaker.write_text(_SPEAKER)
    route = RouteOptions(command=f"{sys.executable} {speaker}", prompt=str(rig.sizes.lines))
    delays: list[float] = []
    with rig.app("events", route) as app:
        created = httpx.post(
            f"{app.api_url}/tasks", json={"queue_name": "Todo", "name": "Speak"}, trust_env=False
        )
        task_id = created.raise_for_status().json()["id"]
        with httpx.stream(
            "GET", f"{app.api_url}/tasks/{task_id}/events", timeout=60, trust_env=False
        ) as stream:
            for line in stream.iter_lines():
                now = time.time()
                if line.startswith("data:"):
                    delays += [now - t for t in _times(line.removeprefix("data:"))]
                if len(delays) >= rig.sizes.lines or line == "event: end":
                    break
    slow = percentile(delays, 0.95)
    yield Row(
        "events",
        "event stream: from the agent's write to the client's read",
        "p95 below 250 ms",
        f"p50 {percentile(delays, 0.5) * 1000:.0f} ms, p95 {slow * 1000:.0f} ms, "
        f"of {len(delays)} lines",
        slow < 0.25,
        {"seconds": delays},
    )


def _times(data: str) -> list[float]:
    lines = json.loads(data).get("data", {}).get("lines", [])
    return [float(entry["text"].split()[1]) for entry in lines if entry["text"].startswith("said")]
