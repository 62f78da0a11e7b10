"""What a run keeps of itself in its labels."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelling, Crashed, Running

from athanore.models import AgentOutcome, AgentResult
from athanore.routing.routes import RetryPolicy
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import (
    SCHEMA,
    Holder,
    RunRecord,
    Start,
    holder_of,
    record_of,
    result_of,
)
from athanore.runs.records.run_log import RunLog
from athanore.runs.store import is_retried_by_hand

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text()
KEYS: list[str] = [f.metadata["key"] for f in fields(RunRecord) if "key" in f.metadata]
RESERVED = [f"athanore.{name}" for name in ("workspace", "look-again")]
FAILED = AgentResult(AgentOutcome.FAILED, "exit code 1")

NUMBERS = st.integers(min_value=0, max_value=2**31)
AMOUNTS = st.one_of(st.integers(-(2**53), 2**53), st.floats(-(2.0**53), 2.0**53), st.text())
KINDS = st.text(min_size=1)
OTHERS = st.dictionaries(
    st.text().filter(lambda k: not k.startswith("athanore.")) | st.sampled_from(RESERVED), AMOUNTS
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": NUMBERS,
    "str": st.text(),
    "bool": st.booleans(),
}
RECORDS = st.builds(
    RunRecord,
    **{f.name: VALUES[str(f.type)] for f in fields(RunRecord) if "key" in f.metadata},
    tokens=st.dictionaries(st.integers(1, 2**31), st.text()),
    used=st.dictionaries(st.tuples(NUMBERS, KINDS), AMOUNTS),
    usage=st.dictionaries(KINDS, AMOUNTS),
    unknown=OTHERS,
)
LABELS = st.dictionaries(
    st.text() | st.sampled_from([*KEYS, "athanore.token.1", "athanore.usage.x", *RESERVED]),
    st.one_of(AMOUNTS, st.booleans(), st.integers(), st.text()),
)


@given(RECORDS)
def test_what_is_written_is_read_back(record: RunRecord) -> None:
    assert RunRecord.parse(record.dump()) == record


@given(LABELS)
def test_nothing_that_is_in_labels_is_lost(labels: dict[str, Any]) -> None:
    kept = RunRecord.parse(labels).dump()
    assert isinstance(kept.pop("athanore.schema"), int)
    labels.pop("athanore.schema", None)
    for key, value in labels.items():
        if key not in KEYS or value:  # what says "none" may be said by saying nothing
            assert kept[key] == value
    assert set(kept) <= set(labels)


@given(LABELS, RECORDS)
def test_an_update_of_labels_makes_them_say_the_record(
    labels: dict[str, Any], record: RunRecord
) -> None:
    """Labels cannot be removed: what has no value any more is said to have none."""
    wanted = replace(record, unknown={}, tokens={}, used={}, usage={})
    after = labels | wanted.changes(labels)
    read = RunRecord.parse(after)
    assert [getattr(read, f.name) for f in fields(read) if "key" in f.metadata] == [
        getattr(wanted, f.name) for f in fields(wanted) if "key" in f.metadata
    ]
    assert record_of(FlowRun(flow_id=uuid4(), labels={})).changes({}) == {"athanore.schema": SCHEMA}
    assert not RunRecord.parse(after).changes(after | {"athanore.schema": read.schema})


def test_each_key_is_on_the_page() -> None:
    section = PAGE.split("## The record of a run\n", 1)[1].split("\n## ", 1)[0]
    listed = re.findall(r"^\| `(athanore\.[^`]+)` \|", section, re.MULTILINE)
    groups = ["athanore.token.<start>", "athanore.used.<start>.<kind>", "athanore.usage.<kind>"]
    assert listed == [*KEYS, *groups, *RESERVED]


def test_no_other_module_knows_a_key() -> None:
    own = {"athanore/runs/records/record.py"}
    # An event has a key of the same name, and so has a logger.
    wanted = set(KEYS) - {"athanore.start", "athanore.worker"}
    for path in (ROOT / "athanore").rglob("*.py"):
        if (name := str(path.relative_to(ROOT))) in own:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in wanted, name
                assert not node.value.startswith(("athanore.token.", "athanore.usage.")), name
            if isinstance(node, ast.Attribute) and node.attr == "labels":
                assert ast.unparse(node.value) not in ("run", "self.run") or "runs/" in name, name


class Runs(PrefectRunStore):
    """Prefect, as far as the labels and the policy of one run go."""

    def __init__(self, run: FlowRun) -> None:
        super().__init__("http://127.0.0.1:1/api")
        self.run = run

    async def update_flow_run_labels(self, flow_run_id: Any, labels: Any) -> None:
        self.run.labels.update(labels)

    async def update_flow_run(self, flow_run_id: Any, *args: Any, **kwargs: Any) -> Any:
        self.run.empirical_policy = kwargs["empirical_policy"]


class Life:
    """A run over several starts, as its worker and Prefect count them."""

    def __init__(self, max_retries: int = 2) -> None:
        self.run = FlowRun(flow_id=uuid4(), run_count=0)
        self.policy = RetryPolicy(max_retries=max_retries)
        self.client = Runs(self.run)

    def goes(self, state: Any) -> None:
        self.run.state, self.run.state_type = state, state.type

    async def starts(self, *, counted: bool = True, opens: bool = True) -> RunLog:
        """Another start: `counted` by Prefect unless it is a resume; `opens` unless it dies."""
        self.goes(Running())
        self.run.run_count += counted
        log = self.look()
        if opens:
            await log.open("w", f"token {uuid4()}")
        return log

    def look(self) -> RunLog:
        """What another process makes of the run."""
        return RunLog(self.client, self.run.model_copy(deep=True), self.policy)

    @property
    def record(self) -> RunRecord:
        return record_of(self.run)

    @property
    def starts_left(self) -> int:
        """How many more starts Prefect allows."""
        return (self.run.empirical_policy.retries or 0) - self.run.run_count + 1


async def test_each_start_that_fails_is_an_attempt() -> None:
    life = Life(max_retries=2)
    for attempt, left in ((1, 2), (2, 1), (3, 0)):
        log = await life.starts()
        assert (log.attempt, life.record.attempt, life.starts_left) == (attempt, attempt, left)
        assert log.attempts_left is (left > 0)
        await log.ended(FAILED)


@pytest.mark.parametrize("crash", [False, True])
async def test_a_start_that_is_given_back_is_no_attempt(crash: bool) -> None:
    life = Life()
    await (await life.starts()).ended(FAILED)
    log = await life.starts()
    for _ in range(3):
        await log.give_back(crash=crash)
        await life.look().give_back(crash=crash)
    assert life.record.is_given_back
    assert (life.record.attempt, life.record.crashes) == (2, int(crash))
    assert life.starts_left == 2
    assert (await life.starts()).attempt == 2
    assert not life.record.is_given_back


async def test_a_start_that_died_before_it_said_who_it_is_takes_no_attempt() -> None:
    life = Life()
    await (await life.starts()).ended(FAILED)
    await life.starts(opens=False)
    life.goes(Crashed())
    assert result_of(life.run) is None, "the outcome is the start's before"
    await life.look().give_back(crash=True)
    assert not life.record.is_given_back, "nor does it take one away"
    assert (life.record.crashes, life.starts_left) == (1, 2)
    assert (await life.starts()).attempt == 2


@pytest.mark.parametrize("handed_back", [True, False])
async def test_a_resume_is_no_attempt_although_prefect_does_not_count_it(handed_back: bool) -> None:
    life = Life()
    first = await life.starts()
    if handed_back:
        await first.give_back()
    resumed = await life.starts(counted=False)
    assert life.run.run_count == 1
    assert first.start and resumed.start
    assert (resumed.start.number, resumed.attempt, life.starts_left) == (2, 1, 2)
    assert life.record.is_given_up(first.start)
    assert not life.record.is_given_up(resumed.start)


async def test_the_holder_of_a_start_is_nobody_until_it_says_so() -> None:
    life = Life()
    assert holder_of(life.run) is None
    log = await life.starts()
    assert log.start
    assert holder_of(life.run) == Holder("w", log.start.process)
    life.goes(Cancelling())
    assert holder_of(life.run) == Holder("w", log.start.process)
    await life.starts(counted=False, opens=False)
    assert holder_of(life.run) is None
    await life.starts(opens=False)
    assert holder_of(life.run) is None


async def test_an_outcome_is_the_start_s_that_had_it() -> None:
    life = Life()
    log = await life.starts()
    await log.ended(FAILED)
    assert result_of(life.run) == FAILED
    await log.give_back()  # because the route was paused, say
    await life.starts()
    life.goes(Crashed())
    await life.look().leave()
    assert result_of(life.run) is None, "this start's agent came to nothing"


async def test_what_a_lost_start_says_late_is_not_the_next_ones() -> None:
    life = Life()
    late = await life.starts()
    await life.starts()
    await late.ended(AgentResult(AgentOutcome.SUCCEEDED))
    assert result_of(life.run) is None


async def test_what_is_kept_is_said_by_the_next_start_that_can() -> None:
    life = Life()
    hopeless = AgentResult(AgentOutcome.FAILED, "no such command", retryable=False)
    log = await life.starts()
    await log.ended(hopeless)
    await log.keep()
    life.goes(AwaitingRetry())
    assert life.record.awaits_the_board
    full = await life.starts()
    assert (full.kept(), full.attempt) == (hopeless, 1)
    await full.give_back()
    again = await life.starts()
    assert (again.kept(), again.attempt) == (hopeless, 1)
    assert result_of(life.run) == hopeless, "if its worker is lost now"
    await again.delivered()
    assert not life.record.awaits_the_board
    assert (await life.starts()).kept() is None


async def test_a_claim_that_may_have_succeeded_is_known_to_the_attempt_only() -> None:
    life = Life()
    log = await life.starts()
    assert not log.has_claimed()
    await log.keep_claim()
    await log.give_back()
    assert life.record.awaits_the_board
    for _ in range(2):
        log = await life.starts()
        assert log.has_claimed()
        await log.give_back()
    log = await life.starts()
    await log.ended(FAILED)
    assert not (await life.starts()).has_claimed()


@pytest.mark.parametrize("by", ["a person", "the engine"])
async def test_a_finished_run_that_starts_again_takes_its_task_from_where_it_is(by: str) -> None:
    """It stays closed if the engine only repeats the flow."""
    life = Life()
    log = await life.starts()
    await log.ended(FAILED)
    await log.close()
    assert is_retried_by_hand(life.run)
    if by == "the engine":
        life.run.empirical_policy.retry_type = "in_process"
    for _ in range(2):
        life.run.empirical_policy.retry_type = "in_process" if by == "the engine" else None
        again = await life.starts()
        assert again.has_claimed()
        assert life.record.is_closed is (by == "the engine")
        await again.give_back()
    assert life.record.attempt == 2


async def test_usage_is_summed_over_starts_however_often_it_is_said() -> None:
    life = Life()
    for cost in (0.25, 0.5):
        log = await life.starts()
        for _ in range(2):
            usage = {"cost_usd": cost, "session_id": f"s{cost}", "odd": None}
            await log.ended(replace(FAILED, usage=usage))
    assert life.record.usage == {"cost_usd": 0.75, "session_id": "s0.5"}
    assert life.record.used[1, "cost_usd"] == 0.25
    assert life.run.labels["athanore.usage.cost_usd"] == 0.75


async def test_a_finished_flow_that_runs_once_more_finds_its_own_outcome_only() -> None:
    life = Life()
    await (await life.starts()).ended(FAILED)
    again = await life.starts(opens=False)
    assert again.recorded() is None, "a native retry of ours"
    again.run.empirical_policy.retry_type = "in_process"
    assert again.recorded() == FAILED
    await life.starts()
    again = await life.starts(opens=False)
    again.run.empirical_policy.retry_type = "in_process"
    assert again.recorded() is None, "the last start has none"


async def test_a_start_after_one_that_the_engine_ran_once_more_has_an_agent_again() -> None:
    life = Life()
    await life.starts()
    life.run.empirical_policy.retry_type = "in_process"
    await (await life.starts()).ended(FAILED)
    assert life.run.empirical_policy.retry_type is None
    assert (await life.starts(opens=False)).recorded() is None


@pytest.mark.parametrize("how", ["the engine repeats it", "its worker has died"])
async def test_a_start_that_may_have_claimed_its_task_is_remembered_while_others_wait(
    how: str,
) -> None:
    life = Life()
    log = await life.starts()
    if how == "the engine repeats it":
        await log.leave()
        life.run.empirical_policy.retry_type = "in_process"
    for _ in range(3):
        log = await life.starts()
        assert log.has_claimed()
        await log.give_back()  # there was no slot
    await (await life.starts()).ended(FAILED)
    assert not (await life.starts()).has_claimed()


async def test_a_task_that_was_taken_over_is_taken_from_its_queue_by_a_later_start() -> None:
    """A person may have moved it meanwhile."""
    life = Life()
    await life.starts()  # its worker dies
    log = await life.starts()
    await log.took_over("")
    assert log.has_claimed(), "by this start itself"
    await log.give_back()
    assert not life.record.awaits_the_board
    assert not (await life.starts()).has_claimed()


async def test_a_closed_run_is_open_again_when_a_person_has_it_tried_again() -> None:
    """Also one whose last start has never noted that it let go."""
    life = Life()
    await life.starts()
    await life.look().close()
    assert life.record.is_closed and life.record.living_start
    log = await life.starts()
    assert log.has_claimed() and not life.record.is_closed


@pytest.mark.parametrize("value", ["x", True, 2.5])
def test_a_label_of_another_type_is_no_value(value: Any) -> None:
    labels = {"athanore.start": value}
    record = RunRecord.parse(labels)
    assert (record.starts, dict(record.unknown)) == (0, labels)


def test_a_start_needs_both_its_id_and_its_process() -> None:
    start = Start("id", 2, "host:1:1")
    record = RunRecord(starts=2, start_id="id", process="host:1:1")
    assert not record.is_given_up(start)
    assert not replace(record, starts=1, start_id="before").is_given_up(start)
    for lost in ({"start_id": "other"}, {"process": "other"}, {"left": "id"}):
        assert replace(record, **lost).is_given_up(start)


def test_states_of_runs_without_a_record_say_nothing() -> None:
    for kind in StateType:
        run = FlowRun(flow_id=uuid4(), state_type=kind, run_count=3)
        assert (holder_of(run), result_of(run), record_of(run).attempt) == (None, None, 1)
