"""What a run keeps in Prefect about its attempts: the native retry policy, and a few labels.

`run_count <= empirical_policy.retries` means that an attempt is left. A start that was no failure
of the agent (a shutdown, a lost worker, no free slot) is given back: it raises both sides by one,
and the label remembers how often, so that the attempt's number stays what a person expects.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from athanore import names
from athanore.models import AgentOutcome, AgentResult
from athanore.processes import identity
from athanore.routes import RetryPolicy
from athanore.runs import tokens

GIVEN_BACK = "athanore.given-back"
GIVEN_BACK_START = "athanore.given-back-start"
CRASHES = "athanore.crashes"
CRASHES_START = "athanore.crashes-start"
WORKER = "athanore.worker"
VERSION = "athanore.version"
PROCESS = "athanore.process"
START = "athanore.start"
START_ID = "athanore.start-id"
LEFT = "athanore.left"
OUTCOME = "athanore.outcome"
REASON = "athanore.reason"
FINAL = "athanore.final"
ATTEMPT = "athanore.attempt"
CLOSED = "athanore.closed"
DUE = "athanore.due"
CLAIMING = "athanore.claiming"
USAGE = "athanore.usage."

# Prefect changes labels by reading and writing them back, so that of two writers one loses what it
# wrote. They are the worker's; what the task API has to say of a run is an input of the run.
_MOVED = "athanore-moved"

_NOT_FOUND = 404


class Start(NamedTuple):
    """One start of a run: its id, the run's count of starts, and the process that works on it.

    A start after a suspension has another id, and the same count.
    """

    id: str
    number: int
    process: str


class Holder(NamedTuple):
    """Who works on a run: a worker, as Prefect names it ("" for a stock one), and a process."""

    worker: str
    process: str

    def __str__(self) -> str:
        return f"Taken by worker {self.worker} ({self.process})"

    @classmethod
    def parse(cls, text: str | None) -> Holder | None:
        """Read the message of a Pending state that our worker proposed."""
        match = _TAKEN.fullmatch(text or "")
        return cls(*match.groups()) if match else None


_TAKEN = re.compile(r"Taken by worker (.*) \((\S+)\)")


def _int(run: FlowRun, label: str) -> int:
    return int(run.labels.get(label, 0))


def attempt_of(run: FlowRun) -> int:
    """The number of the agent's current or last attempt, from 1."""
    return max(1, run.run_count - _int(run, GIVEN_BACK))


def retry_count_of(run: FlowRun) -> int:
    """How many attempts of the agent were repeats."""
    return attempt_of(run) - 1


def is_given_back(run: FlowRun) -> bool:
    """True when the run's current start does not count as an attempt: its task is handed back."""
    return _int(run, GIVEN_BACK_START) == run.run_count


def crashes_of(run: FlowRun) -> int:
    """How many workers were lost under this run."""
    return _int(run, CRASHES)


def outcome_of(run: FlowRun) -> AgentOutcome | None:
    """How the run's current attempt ended, if that was noted before its worker was lost."""
    if last_start_of(run) is not None and _int(run, DUE) != attempt_of(run):
        return None  # noted by a start that had lost the run to this one
    attempt, _, outcome = str(run.labels.get(OUTCOME, "")).partition(":")
    return AgentOutcome(outcome) if outcome and attempt == str(attempt_of(run)) else None


def result_of(run: FlowRun) -> AgentResult | None:
    """What the run's current attempt came to, if that was noted before its worker was lost."""
    outcome = outcome_of(run)
    if outcome is None:
        return None
    reason = str(run.labels.get(REASON, "")) or outcome.value
    final = str(run.labels.get(FINAL, "")) == str(attempt_of(run))
    return AgentResult(outcome, reason, retryable=not final)


def holder_of(run: FlowRun) -> Holder | None:
    """Who works on this start of the run, as its flow noted it; None if it has not yet.

    A run that is started again still has the labels of its last start: they count for that only.
    """
    if _int(run, START) != run.run_count or PROCESS not in run.labels:
        return None
    return Holder(str(run.labels.get(WORKER)), str(run.labels[PROCESS]))


def last_start_of(run: FlowRun) -> str | None:
    """The id of the last start that may have had an agent, if it has not noted that it let go."""
    start = str(run.labels.get(START_ID, ""))
    return start if start and run.labels.get(LEFT) != start else None


def is_given_up(run: FlowRun, start: Start) -> bool:
    """Tell whether somebody else has the run now, or has declared the start over."""
    labels = run.labels
    if labels.get(LEFT) == start.id:
        return True
    # Labels of an earlier start are there if ours got lost: Prefect does not merge them atomically.
    if _int(run, START) < start.number:
        return False
    return labels.get(START_ID) != start.id or labels.get(PROCESS) != start.process


def is_closed(run: FlowRun) -> bool:
    """True when nothing is due to the board any more for this finished run."""
    return bool(run.labels.get(CLOSED))


async def note_move(client: PrefectClient, run_id: UUID, start: int, queue_name: str) -> None:
    """Note that the agent of a run moves its task itself.

    Args:
        start: which start of the run it belongs to, as `FlowRun.run_count` says.
    """
    await client.create_flow_run_input(run_id, f"{_MOVED}-{start}-{uuid4()}", queue_name)


async def has_moved_itself(client: PrefectClient, run: FlowRun) -> bool:
    """Tell whether the agent of this start of a run has moved its task itself."""
    prefix = f"{_MOVED}-{run.run_count}-"
    return bool(await client.filter_flow_run_input(run.id, prefix, 1, set()))


def begun_attempt_of(run: FlowRun) -> int:
    """The number of the attempt that this start of a run is, also if it was given back since."""
    return run.run_count - _int(run, GIVEN_BACK) + is_given_back(run)


def awaits_the_board(run: FlowRun) -> bool:
    """Tell whether a waiting run has to say what its attempt came to, or may have claimed."""
    coming = run.run_count + 1 - _int(run, GIVEN_BACK)
    return coming in (_int(run, DUE), _int(run, CLAIMING))


class Ledger:
    """The attempts of one run.

    Attributes:
        start: the start that this process has opened.
        is_deleted: the run is gone from Prefect; nothing can be noted any more.
    """

    def __init__(self, client: PrefectClient, run: FlowRun, policy: RetryPolicy) -> None:
        self.client = client
        self.run = run
        self.policy = policy
        self.start: Start | None = None
        self.is_deleted = False

    @classmethod
    def as_it_is(cls, client: PrefectClient, run: FlowRun) -> Ledger:
        """The attempts of a run whose route is not known here; its policy is what Prefect has."""
        retries = (run.empirical_policy.retries or 0) - _int(run, GIVEN_BACK)
        return cls(client, run, RetryPolicy(max_retries=max(0, retries)))

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return attempt_of(self.run)

    @property
    def attempts_left(self) -> bool:
        """True when this attempt may be followed by another."""
        return self.attempt <= self.policy.max_retries

    async def open(
        self, worker: str, token: str, version: str = "", *, key: bytes | None = None
    ) -> None:
        """Note who works on the run, and bring its native policy in line with the route's.

        Args:
            worker: the name whose heartbeats tell other hosts that the run is worked on, or "".
            token: the agent's token for the task API, of which a proof is kept.
            version: the worker's version of the app; the deployment may have another.
            key: the operators' key, if there is one; see `tokens.proof`.
        """
        proof = tokens.proof(token, self.attempt, names.task_of(self.run.tags), key)
        who = {WORKER: worker, PROCESS: identity.process(), VERSION: version}
        state = self.run.state
        start = Start(str(state.id if state else uuid4()), self.run.run_count, identity.process())
        noted = {START: start.number, START_ID: start.id, ATTEMPT: self.attempt}
        await self._label({**who, **noted, tokens.label(self.attempt): proof})
        self.start = start
        await self._set_retries(self.policy.max_retries + _int(self.run, GIVEN_BACK))

    async def give_back(self, *, crash: bool = False) -> None:
        """Do not count this start as an attempt of the agent; safe to repeat."""
        given, start = _int(self.run, GIVEN_BACK), self.run.run_count
        labels: dict[str, Any] = {}
        if not is_given_back(self.run):
            given += 1
            labels |= {GIVEN_BACK: given, GIVEN_BACK_START: start}
        if crash and _int(self.run, CRASHES_START) != start:
            labels |= {CRASHES: _int(self.run, CRASHES) + 1, CRASHES_START: start}
        if labels := labels | self._left():
            await self._label(labels)
        await self._set_retries(self.policy.max_retries + given)

    async def rule_out_retries(self) -> None:
        """Make a following Failed state final, although attempts would be left."""
        await self._set_retries(0)

    async def record(self, result: AgentResult) -> None:
        """Note durably how the attempt ended, before anything is done about it.

        Its agent is dead by then. What the attempts of a run used is summed.
        """
        known = outcome_of(self.run) is not None
        labels: dict[str, Any] = {
            OUTCOME: f"{self.attempt}:{result.outcome}",
            REASON: result.reason[:500],
        }
        if not result.retryable:
            labels[FINAL] = self.attempt
        for key, value in result.usage.items():
            so_far = self.run.labels.get(f"{USAGE}{key}")
            if isinstance(value, str):
                labels[f"{USAGE}{key}"] = value
            elif isinstance(value, int | float) and not known:
                earlier = so_far if isinstance(so_far, int | float) else 0
                labels[f"{USAGE}{key}"] = earlier + value
        await self._label(labels | self._left())

    async def leave(self) -> None:
        """Note that no agent of the run's last start is alive, so that another may begin."""
        start = self.start.id if self.start else last_start_of(self.run)
        if start and self.run.labels.get(LEFT) != start:
            await self._label({LEFT: start})

    def _left(self) -> dict[str, Any]:
        return {LEFT: self.start.id} if self.start else {}

    async def is_ours(self) -> bool:
        """Tell, after Prefect was away, whether nobody has taken the run over meanwhile."""
        now = await self.client.read_flow_run(self.run.id)
        return (
            now.state_type in (StateType.RUNNING, StateType.CANCELLING)
            and self.start is not None
            and not is_given_up(now, self.start)
        )

    async def keep(self) -> None:
        """Note that the board does not know yet what the attempt came to: the next start says it.

        The start that follows is the same attempt, without its agent.
        """
        await self._label({DUE: begun_attempt_of(self.run)})
        await self.give_back()

    async def delivered(self) -> None:
        """Note that the board knows what was kept."""
        await self._label({DUE: 0} | self._left())

    def kept(self) -> AgentResult | None:
        """What this attempt came to before this start of the run, and the board does not know."""
        return result_of(self.run) if _int(self.run, DUE) == self.attempt else None

    async def keep_claim(self) -> None:
        """Note that the task is most likely ours, and where we put it: the next start takes it."""
        await self._label({CLAIMING: begun_attempt_of(self.run)})

    def has_claimed(self) -> bool:
        """Tell whether an earlier start of this attempt may have claimed the task."""
        return _int(self.run, CLAIMING) == self.attempt

    async def close(self) -> None:
        """Note that nothing is due to the board any more."""
        await self._label({CLOSED: True} | self._left())

    def recorded(self) -> AgentResult | None:
        """What the run's last attempt came to, if the engine runs a finished flow once more.

        Prefect does that when it could not deliver the final state for about a minute.
        """
        if self.run.empirical_policy.retry_type != "in_process":
            return None
        _, _, outcome = str(self.run.labels.get(OUTCOME, "")).partition(":")
        if not outcome:
            return None
        return AgentResult(AgentOutcome(outcome), str(self.run.labels.get(REASON, "")) or outcome)

    async def _label(self, labels: dict[str, Any]) -> None:
        await self._unless_deleted(self.client.update_flow_run_labels(self.run.id, labels))
        self.run.labels.update(labels)

    async def _set_retries(self, retries: int) -> None:
        policy = self.run.empirical_policy
        if (policy.retries or 0) != retries:
            policy = policy.model_copy(update={"retries": retries})
            await self._unless_deleted(
                self.client.update_flow_run(self.run.id, empirical_policy=policy)
            )
            self.run.empirical_policy = policy

    async def _unless_deleted(self, request: Awaitable[object]) -> None:
        """Note that the run is gone; the board hears of what its agent came to all the same."""
        try:
            await request
        except ObjectNotFound:
            self.is_deleted = True
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code != _NOT_FOUND:
                raise
            self.is_deleted = True
