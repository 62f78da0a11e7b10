"""Going on with the session of an earlier attempt, for the adapters whose agents can."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.common.program import close_pipes, exit_code, spawn
from athanore.agent_adapters.given.sessions import Place, Session
from athanore.models import AgentEvent, EventKind
from athanore.processes.supervisor import STOP_GRACE, supervise

_PATIENCE = 20.0  # seconds in which a program tells its version; some start slowly
_LONGEST_OUTPUT = 4096
_NUMBER = re.compile(r"(?<!\d)\d+\.\d[\w.+-]*")
_TELLING = (EventKind.PROGRESS, EventKind.COST)


def fitting(job: AgentJob, place: Place) -> Session | None:
    """The session that the job may go on with here; of another one people are told."""
    if job.session is None:
        return None
    if why := job.session.unfit(place):
        tell_afresh(job, job.session, why)
        return None
    return job.session


def tell_afresh(job: AgentJob, session: Session, why: str) -> None:
    """Tell people that a session is not gone on with."""
    text = f"The session {session.id} cannot be resumed ({why}); starting afresh."
    job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stderr", "text": text}))


def keeping(
    job: AgentJob, place: Place, known: Callable[[], tuple[str | None, Mapping[str, float]]]
) -> Callable[[AgentEvent], None]:
    """What emits the events of the job, and keeps the session as soon as there is one.

    Args:
        known: says the id of the session and what it has used, as far as that is known.
    """

    def emit(event: AgentEvent) -> None:
        job.emit(event)
        if event.kind in _TELLING:
            session, used = known()
            if session:
                job.keep(Session(session, place, used))

    return emit


async def version_of(program: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> str:
    """What a program says of its version; "" if it does not."""
    async with AsyncExitStack() as afterwards, supervise(STOP_GRACE) as agent:
        try:
            process = spawn([*program, "--version"], cwd=cwd, env={**env, **agent.env})
        except (OSError, ValueError):
            return ""
        afterwards.callback(process.poll)
        afterwards.callback(close_pipes, process)
        agent.led_by(process.pid)
        code = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                code = await exit_code(process.pid)
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        said = process.stdout.read(_LONGEST_OUTPUT) or b""
    found = _NUMBER.search(said.decode(errors="replace"))
    return found[0] if code == 0 and found else ""
