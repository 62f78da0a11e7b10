"""What an attempt comes to that has failed in another way than its agent says itself."""

from __future__ import annotations

from dataclasses import replace

from athanore.errors import SpoiledFolderError, WorkspaceError, reason
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind


def hopeless(why: str) -> AgentResult:
    """A failure that no further attempt would mend."""
    return AgentResult(AgentOutcome.FAILED, why, retryable=False)


def no_folder(error: WorkspaceError) -> AgentResult:
    """Whatever the task, no agent can work; it costs none an attempt."""
    why, fault = str(error).rstrip("."), Fault(FaultKind.ENVIRONMENT)
    return AgentResult(AgentOutcome.FAILED, why, output_tail=error.output, fault=fault)


def not_the_agents(error: Exception) -> AgentResult:
    """Something of the set-up raised what it may not; that costs no task an attempt either."""
    why = f"the attempt failed: {type(error).__name__}: {reason(error)}"
    return AgentResult(AgentOutcome.FAILED, why, fault=Fault(FaultKind.ENVIRONMENT))


def spoiled_folder(result: AgentResult, error: SpoiledFolderError) -> AgentResult:
    """The result of an agent that was given a folder, and has left none that can be read."""
    return replace(
        result,
        outcome=AgentOutcome.FAILED,
        reason=f"the folder cannot be read any more: {str(error).rstrip('.')}",
        output_tail=error.output,
        fault=Fault(FaultKind.CHECK),
    )
