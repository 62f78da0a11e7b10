"""A worker to be killed: `python worker.py MODE` runs agents of nasty.py until it dies."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.common.program import spawn
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.models import AgentEvent, EventKind, Task
from athanore.processes.supervisor import default_reaper, supervise
from athanore.routing.routes import Route

NASTY = [sys.executable, "-I", "-S", str(Path(__file__).with_name("nasty.py"))]


def prompt(task_id: str, task_name: str) -> str:
    return "the prompt"


async def agent(*words: str) -> None:
    def tell(event: AgentEvent) -> None:
        if event.kind is EventKind.OUTPUT:
            print(event.data["text"], flush=True)

    route = Route("Todo", prompt, command=NASTY[0], args=(*NASTY[1:], *words))
    job = AgentJob(
        Task("1", "Task", "Todo"),
        route,
        "prompt",
        env=dict(os.environ),
        emit=tell,
        command=route.words(),
    )
    await SubprocessAgentAdapter().run(job)


async def runs() -> None:
    """Run agents that hang, are deaf to TERM, or have an escaped child."""
    print("reaper", default_reaper().pid, flush=True)
    async with asyncio.TaskGroup() as group:
        for behaviour in ("hangs", "ignores_term", "escapes", "daemonises_and_hangs"):
            group.create_task(agent(behaviour))


async def dies_in_the_gap() -> None:
    """Die after an agent was spawned and before its pid was told to anybody."""
    async with supervise() as supervised:
        spawn([*NASTY, "hang", "prompt"], cwd=None, env={**os.environ, **supervised.env})
        os.kill(os.getpid(), signal.SIGKILL)


async def spawns() -> None:
    """Run short agents, one after the other, several at a time."""

    async def one_by_one() -> None:
        while True:
            await agent("forks", "1")

    print("ready", flush=True)
    await asyncio.gather(*(one_by_one() for _ in range(4)))


async def forks() -> None:
    """Run an agent, and fork a process that holds everything open, the reaper's pipe as well."""
    running = asyncio.create_task(agent("hangs"))
    async with supervise():  # the reaper runs
        if os.fork() == 0:
            signal.pause()
    await running


async def is_deserted() -> None:
    """Run an agent that leaves a process behind which nobody would know."""
    await agent("deserts")


if __name__ == "__main__":
    modes = {f.__name__: f for f in (runs, dies_in_the_gap, spawns, forks, is_deserted)}
    asyncio.run(modes[sys.argv[1]]())
