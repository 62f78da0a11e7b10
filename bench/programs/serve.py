"""Start the Prefect server as `athanore up` does, say where it is, and stop it at the end of stdin.

The settings (PREFECT_HOME, PREFECT_SERVER_API_PORT, the database) come from the environment.
"""

import asyncio
import sys

from athanore.launch.prefect.prefect_server import prefect_server


async def main() -> None:
    """Serve until stdin ends."""
    async with prefect_server() as prefect:
        sys.stdout.write(f"{prefect.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
