"""What a run keeps in Prefect about its attempts: the native retry policy, and a few labels.

`run_count <= empirical_policy.retries` means that an attempt is left. A start that was no failure
of the agent (a shutdown, a lost worker, no free slot) is given back: it raises both sides by one,
and the label remembers how often, so that the attempt's number stays what a person expects.
"""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from athanore import identity, tokens
from athanore.models import AgentOutcome, AgentResult
from athanore.routes import RetryPolicy

GIVEN_BACK = "athanore.given-back"
CRASHES = "athanore.crashes"
WORKER = "athanore.worker"
VERSION = "athanore.version"
PROCESS = "athanore.process"
OUTCOME = "athanore.outcome"
REASON = "athanore.reason"
ATTEMPT = "athanore.attempt"
CLOSED = "athanore.closed"
MOVED = "athanore.moved-to"


def _int(run: FlowRun, label: str) -> int:
    return int(run.labels.get(label, 0))


def attempt_of(run: FlowRun) -> int:
    """The number of the agent's current or last attempt, from 1."""
    return max(1, run.run_count - _int(run, GIVEN_BACK))


def retry_count_of(run: FlowRun) -> int:
    """How many attempts of the agent were repeats."""
    return attempt_of(run) - 1


def crashes_of(run: FlowRun) -> int:
    """How many workers were lost under this run."""
    return _int(run, CRASHES)


def outcome_of(run: FlowRun) -> AgentOutcome | None:
    """How the run's current attempt ended, if that was noted before its worker was lost."""
    attempt, _, outcome = str(run.labels.get(OUTCOME, "")).partition(":")
    return AgentOutcome(outcome) if outcome and attempt == str(attempt_of(run)) else None


def is_closed(run: FlowRun) -> bool:
    """True when nothing is due to the board any more for this finished run."""
    return bool(run.labels.get(CLOSED))


class Ledger:
    """The attempts of one run."""

    def __init__(self, client: PrefectClient, run: FlowRun, policy: RetryPolicy) -> None:
        self.client = client
        self.run = run
        self.policy = policy

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return attempt_of(self.run)

    @property
    def attempts_left(self) -> bool:
        """True when this attempt may be followed by another."""
        return self.attempt <= self.policy.max_retries

    async def open(self, worker: str, token: str, version: str = "") -> None:
        """Note who works on the run, and bring its native policy in line with the route's.

        Args:
            worker: a name for people; what counts is the identity of this process.
            token: the agent's token for the task API, of which a digest is kept.
            version: the worker's version of the app; the deployment may have another.
        """
        digest = {tokens.label(self.attempt): tokens.digest(token)}
        who = {WORKER: worker, PROCESS: identity.process(), VERSION: version}
        await self._label({**who, ATTEMPT: self.attempt, **digest})
        await self._set_retries(self.policy.max_retries + _int(self.run, GIVEN_BACK))

    async def give_back(self, *, crash: bool = False) -> None:
        """Do not count this start as an attempt of the agent."""
        given = _int(self.run, GIVEN_BACK) + 1
        labels: dict[str, Any] = {GIVEN_BACK: given}
        if crash:
            labels[CRASHES] = _int(self.run, CRASHES) + 1
        await self._label(labels)
        await self._set_retries(self.policy.max_retries + given)

    async def rule_out_retries(self) -> None:
        """Make a following Failed state final, although attempts would be left."""
        await self._set_retries(0)

    async def record(self, result: AgentResult) -> None:
        """Note durably how the attempt ended, before anything is done about it."""
        labels: dict[str, Any] = {
            OUTCOME: f"{self.attempt}:{result.outcome}",
            REASON: result.reason[:500],
        }
        for key, value in result.usage.items():
            if isinstance(value, int | float | str):
                labels[f"athanore.usage.{key}"] = value
        await self._label(labels)

    async def is_ours(self) -> bool:
        """Tell, after Prefect was away, whether nobody has taken the run over meanwhile."""
        now = await self.client.read_flow_run(self.run.id)
        return (
            now.state_type in (StateType.RUNNING, StateType.CANCELLING)
            and now.run_count == self.run.run_count
            and now.labels.get(PROCESS) == identity.process()
        )

    async def close(self) -> None:
        """Note that nothing is due to the board any more."""
        await self._label({CLOSED: True})

    def recorded(self) -> AgentOutcome | None:
        """How the run's last attempt ended, if the engine runs a finished flow once more.

        Prefect does that when it could not deliver the final state for about a minute.
        """
        if self.run.empirical_policy.retry_type != "in_process":
            return None
        _, _, outcome = str(self.run.labels.get(OUTCOME, "")).partition(":")
        return AgentOutcome(outcome) if outcome else None

    async def _label(self, labels: dict[str, Any]) -> None:
        await self.client.update_flow_run_labels(self.run.id, labels)
        self.run.labels.update(labels)

    async def _set_retries(self, retries: int) -> None:
        policy = self.run.empirical_policy
        if (policy.retries or 0) != retries:
            policy = policy.model_copy(update={"retries": retries})
            await self.client.update_flow_run(self.run.id, empirical_policy=policy)
            self.run.empirical_policy = policy
