"""Writing the record of a run: the one writer, in the worker that has the run or looks after it.

Prefect's own count goes along: `run_count <= empirical_policy.retries` means that an attempt is
left. A start that was no failure of the agent (a shutdown, a lost worker, no free slot) is given
back: the policy is raised, and the record remembers it, so that the attempt's number stays what a
person expects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.agent_adapters.given.sessions import Session
from athanore.models import AgentResult, RetryPolicy
from athanore.processes import identity
from athanore.runs.port import RunStore
from athanore.runs.records import tokens
from athanore.runs.records.record import RunRecord, Start, record_of


async def allow_another_start(prefect: RunStore, run: FlowRun) -> None:
    """Make up in Prefect's count for a start that ends before it has said who it is."""
    policy = run.empirical_policy
    policy = policy.model_copy(update={"retries": (policy.retries or 0) + 1})
    await prefect.set_policy(run.id, policy)


class RunLog:
    """The record of one run, as this process knows and writes it.

    Attributes:
        run: what Prefect said of it, with what was written since.
        start: the start that this process has opened.
        is_deleted: the run is gone from Prefect; nothing can be noted any more.
        output: what the agent of this start has handed in, as JSON, once that is known here.
        session: that of the agent of this start; each entry notes it along with the rest.
    """

    def __init__(self, prefect: RunStore, run: FlowRun, policy: RetryPolicy) -> None:
        self.prefect = prefect
        self.run = run
        self.policy = policy
        self.start: Start | None = None
        self.is_deleted = False
        self.output: str | None = None
        self.session: Session | None = None
        self._took_over = False

    @property
    def record(self) -> RunRecord:
        """The record as it is now."""
        return record_of(self.run)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.record.attempt

    @property
    def attempts_left(self) -> bool:
        """True when this attempt may be followed by another."""
        return self.attempt <= self.policy.max_retries

    async def open(
        self,
        worker: str,
        token: str,
        version: str = "",
        *,
        key: bytes | None = None,
        route: str = "",
    ) -> None:
        """Note who works on the run, and bring its native policy in line with the route's.

        Args:
            worker: the name whose heartbeats tell other hosts that the run is worked on, or "".
            token: the agent's token for the task API, of which a proof is kept.
            version: the worker's version of the app; the deployment may have another.
            key: the operators' key, if there is one; see `tokens.proof`.
            route: what the end of the run needs of its route, as a label; see `route_record`.
        """
        record, state = self.record, self.run.state
        repeats = self.run.empirical_policy.retry_type == "in_process"
        if repeats or record.living_start is not None:
            # The start before has ended without a word, and may have claimed the task.
            record = replace(record, claim_start=record.starts + 1)
        if record.is_closed and not repeats:
            # A person has it tried again (`store.is_retried_by_hand`).
            record = replace(record, is_closed=False, claim_start=record.starts + 1)
        start = Start(str(state.id if state else uuid4()), record.starts + 1, identity.process())
        proof = tokens.proof(token, start.number, names.task_of(self.run.tags), key)
        begun = record.begun(start, self.run.run_count, worker, version, proof, route)
        await self._write(begun)
        self.start = start
        if repeats:
            await self.is_not_repeated()
        await self._count()

    async def is_not_repeated(self) -> None:
        """Have no later start taken for the engine's repetition of a flow, as Prefect would."""
        await self._set_policy(retry_type=None)

    async def took_over(self, route: str) -> None:
        """Note that this start has the task of an earlier one, by the route's queues as now.

        A later start takes it from its queue again, unless that is noted anew.
        """
        self._took_over = True
        await self._write(replace(self.record, route=route, claim_start=0))

    async def give_back(self, *, crash: bool = False, held: str = "") -> None:
        """Do not count this start as an attempt of the agent; safe to repeat.

        A start that has not said who it is was never counted.

        Args:
            crash: its worker was lost.
            held: the option whose function failed, which a person has to mend.
        """
        record, count = replace(self.record, held=held), self.run.run_count
        if crash and record.crashes_count != count:
            record = replace(record, crashes=record.crashes + 1, crashes_count=count)
        if record.is_of_count(count):
            record = record.without_last_start()
        await self._write(self._left(record))
        await self._count()

    async def rule_out_retries(self) -> None:
        """Make a following Failed state final, although attempts would be left."""
        await self._set_retries(0)

    async def ended(self, result: AgentResult) -> None:
        """Note durably how the attempt ended, before anything is done about it.

        Its agent is dead by then. What the attempts of a run used is summed.
        """
        await self._write(self._left(self.record.ended(result)))

    async def spent(self, usage: Mapping[str, Any]) -> None:
        """Note what the agent of this start used, which has come to nothing else."""
        await self._write(self.record.spent(usage))

    async def leave(self) -> None:
        """Note that no agent of the run's last start is alive, so that another may begin."""
        record = self.record
        start = self.start.id if self.start else record.living_start
        if start:
            await self._write(replace(record, left=start))

    async def waits(self, question: str, place: str, usage: Mapping[str, Any]) -> None:
        """Note for which question the run is about to be suspended, and where its task is.

        The start that follows takes the task from there.
        """
        record = self.record.spent(usage)
        claim = record.starts + 1
        await self._write(replace(record, question=question, place=place, claim_start=claim))

    async def goes_on(self) -> None:
        """Note that the run waits for no answer any more."""
        await self._write(replace(self.record, question="", place=""))

    async def goes_to(self, queue: str) -> None:
        """Note where the agent has put its task, before it is taken back from there."""
        await self._write(replace(self.record, goes_to=queue))

    async def is_ours(self) -> bool:
        """Tell, after Prefect was away, whether nobody has taken the run over meanwhile."""
        now = await self.prefect.read_run(self.run.id)
        return (
            now.state_type in (StateType.RUNNING, StateType.CANCELLING)
            and self.start is not None
            and not record_of(now).is_given_up(self.start)
        )

    async def keep(self) -> None:
        """Note that the board does not know yet what the attempt came to: the next start says it.

        The start that follows is the same attempt, without its agent.
        """
        record = self.record.without_last_start()
        await self._write(self._left(replace(record, deliver_start=record.starts + 1)))
        await self._count()

    async def delivered(self) -> None:
        """Note that the board knows what was kept."""
        await self._write(self._left(replace(self.record, deliver_start=0, goes_to="")))

    def kept(self) -> AgentResult | None:
        """What this attempt came to before this start of the run, and the board does not know."""
        record = self.record
        return record.result if record.deliver_start == record.starts else None

    async def keep_claim(self) -> None:
        """Note that the task is most likely ours, and where we put it: the next start takes it."""
        record = self.record
        await self._write(replace(record, claim_start=record.starts + 1))

    async def claim_refused(self, refused: str) -> None:
        """Note what the board has refused at the claim; see `RefusedClaim`."""
        await self._write(replace(self.record, refused_claim=refused))

    async def begins_at(self, tip: str) -> None:
        """Note the commit that the task's branch is at before the run's first agent starts."""
        await self._write(replace(self.record, tip=tip))

    async def counts_for(self, labels: str) -> None:
        """Note for which limited labels the run counts; see `capacity.label_caps`."""
        await self._write(replace(self.record, labels=labels))

    def has_claimed(self) -> bool:
        """Tell whether an earlier start of this attempt may have claimed the task."""
        record = self.record
        return self._took_over or record.claim_start == record.starts

    async def close(self) -> None:
        """Note that nothing is due to the board any more."""
        await self._write(self._left(replace(self.record, is_closed=True)))

    def recorded(self) -> AgentResult | None:
        """What the run's last start came to, if the engine runs a finished flow once more.

        Prefect does that when it could not deliver the final state for about a minute. What does
        not count is no end of a run.
        """
        result = self.record.result
        if self.run.empirical_policy.retry_type != "in_process" or result is None:
            return None
        return result if result.counts else None

    def _left(self, record: RunRecord) -> RunRecord:
        return replace(record, left=self.start.id) if self.start else record

    def keep_session(self, session: Session) -> None:
        """Have the next entry note the session that a later start may go on with."""
        self.session = session

    async def _write(self, record: RunRecord) -> None:
        if self.session is not None:
            record = replace(record, session=self.session.dump())
        if labels := record.changes(self.run.labels):
            await self._unless_deleted(self.prefect.add_labels(self.run.id, labels))
            self.run.labels.update(labels)

    async def _count(self) -> None:
        """Have Prefect allow as many starts as there are attempts left."""
        record = self.record
        attempts = record.starts - record.given_back
        await self._set_retries(max(0, self.run.run_count + self.policy.max_retries - attempts))

    async def _set_retries(self, retries: int) -> None:
        if (self.run.empirical_policy.retries or 0) != retries:
            await self._set_policy(retries=retries)

    async def _set_policy(self, **values: Any) -> None:
        policy = self.run.empirical_policy.model_copy(update=values)
        await self._unless_deleted(self.prefect.set_policy(self.run.id, policy))
        self.run.empirical_policy = policy

    async def _unless_deleted(self, request: Awaitable[object]) -> None:
        """Note that the run is gone; the board hears of what its agent came to all the same."""
        try:
            await request
        except ObjectNotFound:
            self.is_deleted = True
