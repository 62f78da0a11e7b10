"""What a program has written down of usage limits, as the result and the events of an attempt."""

from __future__ import annotations

from dataclasses import replace

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli.preset import Noted
from athanore.models import AgentEvent, AgentResult, EventKind, FaultKind


def with_noted(job: AgentJob, result: AgentResult, noted: Noted) -> AgentResult:
    """The result, with the reset of a limit that has ended it; of one that is near people are told.

    Args:
        noted: what the program has written down.
    """
    if not result.has_fault(FaultKind.PROVIDER):
        for near in noted.near:
            text = f"{near['used'] * 100:.0f} % of the {near['kind']} limit is used"
            job.emit(AgentEvent(EventKind.PROGRESS, {"text": text, "limit": dict(near)}))
        return result
    if noted.reset is None or result.fault is None:
        return result
    fault = replace(result.fault, retry_at=noted.reset.at, text=noted.reset.kind)
    return replace(result, reason=f"provider limit ({noted.reset.kind})", fault=fault)
