"""Listens to an agent that writes: `python listener.py MEGABYTES`, then says what it cost.

A process of its own, so that its peak of memory is nobody else's.
"""

import asyncio
import json
import os
import resource
import sys
from pathlib import Path

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.models import AgentEvent, EventKind, Task
from athanore.routing.routes import Route

NASTY = Path(__file__).with_name("nasty.py")
_UNIT = 1 if sys.platform == "darwin" else 1024


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def prompt(task_id: str, task_name: str) -> str:
    """The prompt of the agent, which it does not read."""
    return task_name


async def listen(megabytes: str) -> dict[str, object]:
    """Run the agent, and count what it says and what else the event loop does meanwhile."""
    lines = size = turns = 0

    def count(event: AgentEvent) -> None:
        nonlocal lines, size
        if event.kind is EventKind.OUTPUT:
            lines += 1
            size += len(event.data["text"]) + 1

    words = ("-I", "-S", str(NASTY), "writes", megabytes, "1000")
    route = Route("Todo", prompt, command=sys.executable, args=words)
    job = AgentJob(
        Task("1", "Task", "Todo"),
        route,
        "the prompt",
        env=dict(os.environ),
        emit=count,
        command=route.words(),
    )
    before = peak()
    task = asyncio.create_task(SubprocessAgentAdapter().run(job))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    return {
        "outcome": task.result().outcome,
        "lines": lines,
        "size": size,
        "turns": turns,
        "grown": peak() - before,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(listen(sys.argv[1]))))
