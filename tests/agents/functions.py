"""Functions that are agents, in a process of their own."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime

from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind


def succeeds(job: AgentJob) -> str:
    print("no newline; ", end="")
    job.emit(AgentEvent(EventKind.TOOL_USE, {"name": "think", "input": {"hard": True}}))
    print(f"{job.task.name} in {os.getcwd()} with {os.environ['ATHANORE_CONTRACT']}")
    return "hello from the agent"


def fails(job: AgentJob) -> None:
    raise ValueError("it went wrong")


def hangs(job: AgentJob) -> None:
    print("ready")
    time.sleep(3600)


def ignores_term(job: AgentJob) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(3600)
    hangs(job)


def ends_the_process(job: AgentJob) -> None:
    sys.exit(3)


def returns_a_number(job: AgentJob) -> int:
    return 7


def is_over_its_limit(job: AgentJob) -> AgentResult:
    reset = datetime(2030, 1, 1, tzinfo=UTC)
    fault = Fault(FaultKind.PROVIDER, retry_at=reset, text="daily")
    usage = {"cost_usd": 0.5}
    return AgentResult(AgentOutcome.FAILED, "provider limit (daily)", fault=fault, usage=usage)
