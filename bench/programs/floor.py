"""The floor: an equal flow called directly, in one process, with one shared client.

`floor.py COUNT SLOTS PROGRAM` calls a flow with one task, which starts the program, so many times,
so many at once, and prints the seconds that it took. Nothing is scheduled, claimed or moved.
"""

import asyncio
import sys
import time

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import AsyncClientContext
from prefect.states import Completed


@task(name="attempt", persist_result=False, cache_policy=NO_CACHE)
async def attempt(program: str) -> None:
    """Run the program."""
    process = await asyncio.create_subprocess_exec(
        program, "prompt", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()


@flow(name="floor", persist_result=False)
async def floor(program: str) -> object:
    """One run."""
    await attempt(program)
    return Completed(message="done")


async def main(count: int, slots: int, program: str) -> None:
    """Warm up, measure, print."""
    gate = asyncio.Semaphore(slots)

    async def one() -> None:
        async with gate:
            await floor(program)

    async with AsyncClientContext.get_or_create():
        await floor(program)
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(count)))
        sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
