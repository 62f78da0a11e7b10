"""What a run keeps of itself in Prefect: the labels of the run, as a typed value.

Labels are the one place that outlives a worker and that whoever looks after a run later can read.
No other module knows their keys. They cannot be removed, an update adds to those that are there,
and of two writers at once one may lose what it wrote: so the worker that has the run is the only
writer (`run_log`), and what the task API has to say of a run is an input of it.

Starts are counted here, not by Prefect's `run_count`, which a resume does not raise and which a
start raises that never got as far as saying who it is. docs/formats.md lists all keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from prefect.client.schemas.objects import FlowRun, StateType
from pydantic import TypeAdapter, ValidationError

from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind
from athanore.texts import is_finite

SCHEMA = 1
"""The version of what is in the labels; a reader of another version keeps what it does not know."""

_TOKEN = re.compile(r"athanore\.token\.([1-9]\d*)")
_USED = re.compile(r"athanore\.used\.(0|[1-9]\d*)\.(.+)", re.DOTALL)
_USAGE = re.compile(r"athanore\.usage\.(.+)", re.DOTALL)

type Amount = int | float | str
"""What an agent said that it used: a number, which is summed, or a word: the last one counts."""


class Start(NamedTuple):
    """One start of a run: the id of its Running state, its number, and the process at work."""

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


def _label(name: str, default: Any) -> Any:
    return field(default=default, metadata={"key": f"athanore.{name}"})


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is known of a run beside what Prefect itself says of it.

    A number of a start is 0 where there is none.

    Attributes:
        schema: the version of these fields.
        starts: how many starts have said who they are; the last one has this number.
        start_id: the id of the last start's Running state.
        run_count: Prefect's own count of starts when the last start said who it is.
        left: the `start_id` of the newest start whose agent is known to be dead.
        worker: the worker of the last start, as Prefect names it; "" for a stock one.
        process: the process of the last start (`athanore.processes.identity`).
        version: the version of the app in that process.
        given_back: how many starts do not count as attempts of the agent.
        given_back_start: the number of the last of them.
        crashes: how many workers were lost under this run.
        crashes_count: Prefect's `run_count` at the last of them: a worker may be lost before its
            start has said who it is.
        outcome: how the agent of a start ended.
        outcome_start: the number of that start.
        reason: why, in words; at most 500 characters.
        is_final: no further attempt can mend it.
        fault: whose trouble it was, as JSON; "" where it was simply the agent's.
        check: which check the agent's work did not pass, and the end of what that put out, or what
            was expected of it and did not happen; "" where there is nothing to tell the next one.
        deliver_start: the number of the start that tells the board of the outcome, without an
            agent, because an earlier one could not.
        claim_start: the number of the start that takes its task from where an earlier one put it.
        question: the id of the question that the run was suspended for, until a start has its
            answer.
        place: the queue that its task is in meanwhile.
        goes_to: where its agent put it, and where it goes once its work is published.
        is_closed: nothing is due to the board any more for this finished run.
        poll: the id of the poll that found the task.
        route: what the end of the run needs of its route (`route_record`); "" before any start.
        labels: the labels of its task that a limit counts, as JSON; see `capacity.label_caps`.
        held: the option whose function failed, so that the last start had no agent; `claim` where
            the board has refused the claim more than once.
        refused_claim: what of, as JSON; see `RefusedClaim`.
        tip: the commit that the task's branch was at before the run's first agent started; "" where
            nobody asks for it.
        session: what the agent of a later start may go on with, as JSON; "" for nothing.
        tokens: proofs of the agent's tokens, by the number of the start.
        used: what the agent used, by the number of the start and the kind.
        usage: the sum of that, by kind.
        unknown: all other labels, as they are: Prefect's, people's, and those of later versions.
    """

    schema: int = _label("schema", SCHEMA)
    starts: int = _label("start", 0)
    start_id: str = _label("start-id", "")
    run_count: int = _label("run-count", 0)
    left: str = _label("left", "")
    worker: str = _label("worker", "")
    process: str = _label("process", "")
    version: str = _label("version", "")
    given_back: int = _label("given-back", 0)
    given_back_start: int = _label("given-back-start", 0)
    crashes: int = _label("crashes", 0)
    crashes_count: int = _label("crashes-count", 0)
    outcome: str = _label("outcome", "")
    outcome_start: int = _label("outcome-start", 0)
    reason: str = _label("reason", "")
    is_final: bool = _label("final", False)
    fault: str = _label("fault", "")
    check: str = _label("check", "")
    deliver_start: int = _label("deliver-start", 0)
    claim_start: int = _label("claim-start", 0)
    question: str = _label("question", "")
    place: str = _label("place", "")
    goes_to: str = _label("goes-to", "")
    is_closed: bool = _label("closed", False)
    poll: str = _label("poll", "")
    route: str = _label("route", "")
    labels: str = _label("labels", "")
    held: str = _label("held", "")
    refused_claim: str = _label("refused-claim", "")
    tip: str = _label("tip", "")
    session: str = _label("session", "")
    tokens: Mapping[int, str] = field(default_factory=_none)
    used: Mapping[tuple[int, str], Amount] = field(default_factory=_none)
    usage: Mapping[str, Amount] = field(default_factory=_none)
    unknown: Mapping[str, Any] = field(default_factory=_none)

    @classmethod
    def parse(cls, labels: Mapping[str, Any]) -> Self:
        """Read the labels of a run. One that is ours and has a value of another type is unknown."""
        known: dict[str, Any] = {}
        tokens: dict[int, str] = {}
        used: dict[tuple[int, str], Amount] = {}
        usage: dict[str, Amount] = {}
        unknown: dict[str, Any] = {}
        for key, value in labels.items():
            name, default = _FIELDS.get(key, ("", None))
            if name and type(value) is type(default):
                known[name] = value
            elif (token := _TOKEN.fullmatch(key)) and isinstance(value, str):
                tokens[int(token[1])] = value
            elif (one := _USED.fullmatch(key)) and _is_amount(value):
                used[int(one[1]), one[2]] = value
            elif (total := _USAGE.fullmatch(key)) and _is_amount(value):
                usage[total[1]] = value
            else:
                unknown[key] = value
        return cls(**known, tokens=tokens, used=used, usage=usage, unknown=unknown)

    def dump(self) -> dict[str, Any]:
        """The labels that say this; a field without a value has none."""
        said = {key: getattr(self, name) for key, (name, _) in _FIELDS.items()}
        return {
            **self.unknown,
            **{k: v for k, v in said.items() if v != _FIELDS[k][1] or k == _SCHEMA},
            **{f"athanore.token.{start}": proof for start, proof in self.tokens.items()},
            **{f"athanore.used.{n}.{kind}": value for (n, kind), value in self.used.items()},
            **{f"athanore.usage.{kind}": value for kind, value in self.usage.items()},
        }

    def changes(self, labels: Mapping[str, Any]) -> dict[str, Any]:
        """The labels to write so that a run with these ones has this record.

        One that there is no value for any more is written with the value of none.
        """
        wanted = self.dump()
        emptied = {k: d for k, (_, d) in _FIELDS.items() if k in labels and k not in wanted}
        return {k: v for k, v in (wanted | emptied).items() if k not in labels or labels[k] != v}

    @property
    def attempt(self) -> int:
        """The number of the agent's current or last attempt, from 1; also if it is given back."""
        return max(1, self.starts - self.given_back + self.is_given_back)

    @property
    def retries(self) -> int:
        """How many attempts of the agent were repeats."""
        return self.attempt - 1

    @property
    def is_given_back(self) -> bool:
        """True when the last start does not count as an attempt: its task is handed back."""
        return self.starts > 0 and self.given_back_start == self.starts

    @property
    def living_start(self) -> str | None:
        """The id of the last start if its agent may be alive: it has not noted that it let go."""
        return self.start_id if self.start_id and self.left != self.start_id else None

    @property
    def awaits_the_board(self) -> bool:
        """True when the coming start has to tell the board something, or may have the task."""
        return self.starts + 1 in (self.deliver_start, self.claim_start)

    @property
    def may_have_its_task(self) -> bool:
        """True when a run that waits may have its task elsewhere than in its queue."""
        return self.awaits_the_board or bool(self.place)

    @property
    def result(self) -> AgentResult | None:
        """What the last start's agent came to, or what that start had to tell of an earlier one."""
        if self.outcome not in AgentOutcome or self.starts not in (
            self.outcome_start,
            self.deliver_start,
        ):
            return None
        outcome = AgentOutcome(self.outcome)
        return AgentResult(
            outcome,
            self.reason or outcome.value,
            retryable=not self.is_final,
            fault=_fault(self.fault),
        )

    @property
    def undelivered(self) -> AgentResult | None:
        """What the coming start has to tell the board of an earlier one; None: nothing."""
        if self.deliver_start != self.starts + 1:
            return None
        return replace(self, starts=self.deliver_start).result

    def is_given_up(self, start: Start) -> bool:
        """Tell whether somebody else has the run now, or has declared the start over."""
        if self.left == start.id:
            return True
        # Labels of an earlier start are there if ours got lost: Prefect does not merge them
        # atomically.
        if self.starts < start.number:
            return False
        return self.start_id != start.id or self.process != start.process

    def begun(
        self,
        start: Start,
        run_count: int,
        worker: str,
        version: str,
        proof: str,
        route: str = "",
    ) -> Self:
        """This record once a start has said who it is.

        Args:
            run_count: what Prefect says. If that is no more than at the last start, the run was
                resumed, which is no new attempt.
            proof: of the token that the agent of this start gets.
            route: what is kept of the route; by default what was kept before.
        """
        before = self.without_last_start() if self.is_of_count(run_count) else self
        return replace(
            before,
            starts=start.number,
            start_id=start.id,
            run_count=run_count,
            process=start.process,
            worker=worker,
            version=version,
            route=route or before.route,
            held="",
            tokens={**self.tokens, start.number: proof},
        )

    def is_of_count(self, run_count: int) -> bool:
        """Tell whether Prefect has counted no start since the last one said who it is."""
        return self.starts > 0 and self.run_count == run_count

    def without_last_start(self) -> Self:
        """This record once the last start is given back; what it was to do, the next one does."""
        if self.is_given_back or not self.starts:
            return self
        number = self.starts
        return replace(
            self,
            given_back=self.given_back + 1,
            given_back_start=number,
            deliver_start=number + 1 if self.deliver_start == number else self.deliver_start,
            claim_start=number + 1 if self.claim_start == number else self.claim_start,
        )

    def ended(self, result: AgentResult) -> Self:
        """This record once it is known what the agent of the last start came to."""
        return replace(
            self.spent(result.usage),
            outcome=result.outcome.value,
            outcome_start=self.starts,
            reason=result.reason[:500],
            is_final=not result.retryable and result.counts,
            fault="" if result.fault is None else _FAULT.dump_json(result.fault).decode(),
            check=f"{result.reason}\n{result.output_tail}"[:_LONGEST_CHECK]
            if result.has_fault(FaultKind.CHECK) or result.has_fault(FaultKind.NOTHING_HAPPENED)
            else "",
        )

    def spent(self, usage: Mapping[str, Any]) -> Self:
        """This record once it is known what the agent of the last start used."""
        mine = {(self.starts, kind): v for kind, v in usage.items() if _is_amount(v)}
        used = {**self.used, **mine}
        totals = {kind: _total(used, kind) for _, kind in mine}
        return replace(self, used=used, usage={**self.usage, **totals})


_FIELDS: Mapping[str, tuple[str, Any]] = {
    f.metadata["key"]: (f.name, f.default) for f in fields(RunRecord) if "key" in f.metadata
}
_SCHEMA = "athanore.schema"
_LONGEST_CHECK = 4000  # characters
_FAULT = TypeAdapter(Fault)


def _fault(label: str) -> Fault | None:
    try:
        return _FAULT.validate_json(label)
    except ValidationError:
        return None


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return isinstance(value, str) or is_finite(value)


def _total(used: Mapping[tuple[int, str], Amount], kind: str) -> Amount:
    """The sum of a kind over all starts; of words the last one."""
    said = [value for (_, of), value in sorted(used.items(), key=lambda i: i[0][0]) if of == kind]
    numbers = [value for value in said if not isinstance(value, str)]
    return sum(numbers) if len(numbers) == len(said) else said[-1]


def record_of(run: FlowRun) -> RunRecord:
    """Read the record of a run."""
    return RunRecord.parse(run.labels)


def holder_of(run: FlowRun) -> Holder | None:
    """Who works on this start of the run, as its flow noted it; None if it has not yet.

    A run that is started again still has the labels of its last start: they count for that only.
    """
    record = record_of(run)
    return Holder(record.worker, record.process) if _is_of_start(run, record) else None


def start_at_work(run: FlowRun) -> int | None:
    """The number of the start that has the run now, if its agent may be alive."""
    record = record_of(run)
    return record.starts if _is_of_start(run, record) and record.living_start else None


def _is_of_start(run: FlowRun, record: RunRecord) -> bool:
    """Tell whether the last start that has said who it is, is the one that has the run now."""
    if not record.is_of_count(run.run_count) or not record.process:
        return False
    # A resume is not counted; and a person may have set the state.
    running = run.state if run.state_type is StateType.RUNNING else None
    return running is None or str(running.id) == record.start_id


def result_of(run: FlowRun) -> AgentResult | None:
    """What the run's current attempt came to, if that was noted before its worker was lost."""
    record = record_of(run)
    return record.result if record.is_of_count(run.run_count) else None
