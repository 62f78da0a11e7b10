"""What `athanore doctor` finds besides the mistake that ended a start, told at a terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta

from athanore.dispatcher import AgentDispatcher
from athanore.launch.inspection.findings import Finding, Level
from athanore.texts import shown

_PATIENCE = timedelta(seconds=20)


def tell_what_else(dispatcher: AgentDispatcher, reference: str, said: str) -> None:
    """Look at everything that the app needs, and tell what else would end the next start.

    Where nobody looks, as in the log of a service, one line is enough, and nothing is told.

    Args:
        said: the mistake that was told already.
    """
    if not sys.stderr.isatty():
        return
    with suppress(KeyboardInterrupt, TimeoutError):
        for finding in asyncio.run(_failing(dispatcher, reference, said)):
            sys.stderr.write(f"{finding.level:<5} {finding.what}: {shown(finding.says)}\n")
            if finding.mend:
                sys.stderr.write(f"{'':<6}{shown(finding.mend)}\n")


async def _failing(dispatcher: AgentDispatcher, reference: str, said: str) -> list[Finding]:
    from athanore.launch.inspection.doctor import examine

    async with asyncio.timeout(_PATIENCE.total_seconds()):
        found = await examine(reference, lambda _: dispatcher)
    return [f for f in found if f.level is Level.FAIL and not _is_told(f, said)]


def _is_told(finding: Finding, said: str) -> bool:
    _place, _, says = finding.says.partition(": ")  # an agent's begins with the line of its route
    return any(part and part in said for part in (finding.says, says))
