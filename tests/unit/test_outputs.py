"""What agents hand in: how it is read, and where a task goes by it, on a store in memory."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from prefect.client.schemas.objects import State
from pydantic import BaseModel, Field, field_validator

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, Task
from athanore.errors import ResultRefusedError, RouteError
from athanore.flows.ends.outcome import Conclusion
from athanore.routing import outputs
from athanore.runs.records.outputs import hand_in, handed_in
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState, StateName
from tests.harness import prompt
from tests.memory_store import no_events
from tests.rules_site import LOG, Site

__all__ = ["no_events"]


class Verdict(BaseModel):
    """What a reviewer thinks."""

    verdict: Literal["approve", "reject"]
    score: int = Field(ge=0, le=10)
    notes: list[str] = []

    @field_validator("notes")
    @classmethod
    def short(cls, notes: list[str]) -> list[str]:
        if "crash" in notes:
            raise RuntimeError("no such note")
        if len(notes) > 2:
            raise ValueError("at most two notes")
        return notes


GOOD = '{"verdict": "approve", "score": 7}'


def decide(task: Task, result: Verdict) -> str | None:
    return {"approve": "Done", "reject": "Next"}[result.verdict]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("{}", ["result.verdict: Field required", "result.score: Field required"]),
        ('{"verdict": "maybe", "score": 11}', ["result.verdict: Input", "result.score: Input"]),
        (GOOD[:-1] + ', "notes": ["a", "b", "c"]}', ["result.notes: at most two notes"]),
        (GOOD[:-1] + ', "notes": [1]}', ["result.notes.0: Input should be a valid string"]),
        (GOOD[:-1] + ', "notes": ["crash"]}', ["result: a validator of Verdict failed: no such"]),
        ("[1]", ["result: Input should be an object"]),
    ],
)
def test_what_is_wrong_with_a_result_is_said_by_field(text: str, fields: list[str]) -> None:
    with pytest.raises(ResultRefusedError, match="The result is no Verdict: ") as refused:
        outputs.read(Verdict, text)
    said = [f"{field}: {message}" for field, message in refused.value.fields]
    assert len(said) == len(fields)
    assert all(one.startswith(begin) for one, begin in zip(said, fields, strict=True)), said


@pytest.mark.parametrize(
    "data", [{"a": "x" * outputs.LONGEST}, {"a": float("inf")}], ids=["long", "infinite"]
)
def test_a_result_that_cannot_be_kept_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ResultRefusedError):
        outputs.written(data)


def test_the_prompt_says_how_it_is_handed_in() -> None:
    told = outputs.instructions(Verdict, "http://127.0.0.1:8000", "a/b")
    assert "http://127.0.0.1:8000/tasks/a%2Fb/result" in told
    assert '"enum": ["approve", "reject"]' in told and "submit_result" in told


def test_then_is_refused_where_it_cannot_work() -> None:
    app = AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo", "In Progress", "Done"]))
    app.route("Todo", output=Verdict)(prompt)
    app.route("Next", output=Verdict, done_queue="Done")(prompt)
    app.route("Last")(prompt)
    with pytest.raises(RouteError, match=r"then\('Tod'\): .*; did you mean 'Todo'"):
        app.then("Tod")
    with pytest.raises(RouteError, match="done_queue='Done' says already"):
        app.then("Next")
    with pytest.raises(RouteError, match="the route has no output="):
        app.then("Last")
    with pytest.raises(RouteError, match=r"must take \(task, result\)"):
        app.then("Todo")(lambda task: "Done")  # pyright: ignore[reportArgumentType,reportUnknownLambdaType]
    assert app.then("Todo")(decide) is decide
    with pytest.raises(RouteError, match="another then says already"):
        app.then("Todo")
    for wrong in (Verdict(verdict="approve", score=1), dict, "Verdict"):
        with pytest.raises(RouteError, match=r"output=.* must be a pydantic model"):
            app.route("Else", output=wrong)(prompt)  # pyright: ignore[reportArgumentType]


def site(then: Any = decide) -> Site:
    made = Site(done_queue=None, output=Verdict)
    made.dispatcher.then("Todo")(then)
    return made


async def concluded(it: Site, *results: str) -> State[Any]:
    run = await it.at_work()
    for text in results:
        await hand_in(it.client, run.id, 1, text)
    parts = (it.app, it.route, it.log(run), it.task_id, LOG)
    return await Conclusion(*parts).ended(AgentResult(AgentOutcome.SUCCEEDED))


@pytest.mark.parametrize(("verdict", "queue"), [("approve", "Done"), ("reject", "Next")])
async def test_the_task_goes_where_the_function_says(verdict: str, queue: str) -> None:
    it = site()
    last = GOOD.replace("approve", verdict)
    state = await concluded(it, GOOD.replace("7", "1"), last)
    assert (state.name, it.place) == (PrefectState.COMPLETED, queue)
    assert it.comments == [f"Result: {last}"]


async def test_none_leaves_the_task_where_it_is() -> None:
    async def stay(task: Task, result: Verdict) -> None:
        assert (task.name, result.score) == ("Fix it", 7)

    it = site(stay)
    assert (await concluded(it, GOOD)).is_completed()
    assert it.place == "In Progress"
    assert "leaving it in 'In Progress'" in it.comments[-1]


def misspelt(task: Task, result: Verdict) -> str:
    return "Dnoe"


def broken(task: Task, result: Verdict) -> str:
    raise KeyError(result.verdict)


def number(task: Task, result: Verdict) -> str:
    return 7  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (misspelt, "misspelt(task, result) returned 'Dnoe', and the board has no such queue; did"),
        (broken, "broken(task, result) failed: KeyError: 'approve'"),
        (number, "number(task, result) failed: TypeError: it must return the name of a queue"),
    ],
)
async def test_a_function_at_fault_holds_the_route_and_not_the_task(then: Any, why: str) -> None:
    it = site(then)
    run = await it.at_work()
    await hand_in(it.client, run.id, 1, GOOD)
    log = it.log(run)
    await Conclusion(it.app, it.route, log, it.task_id, LOG).ended(
        AgentResult(AgentOutcome.SUCCEEDED)
    )
    assert it.place == "In Progress"
    (comment,) = it.comments
    assert why in comment and "athanore resume 'Todo'" in comment
    assert record_of(log.run).deliver_start == 2, "a later start goes on, without an agent"


async def test_it_goes_on_when_the_function_is_mended() -> None:
    it = site(broken)
    state = await concluded(it, GOOD)
    assert state.name == StateName.WAITING_TO_GO_ON
    run = next(r for r in it.client.runs.values() if r.name == "Fix it")
    del it.dispatcher._routes["Todo"]  # pyright: ignore[reportPrivateUsage]
    it.dispatcher.route("Todo", output=Verdict, dead_letter_queue="Failed", max_retries=2)(prompt)
    it.dispatcher.then("Todo")(decide)
    log = it.log(await it.noted(run))
    kept = log.kept()
    assert kept is not None
    state = await Conclusion(it.app, it.route, log, it.task_id, LOG).deliver(kept)
    assert (state.name, it.place, log.attempt) == (PrefectState.COMPLETED, "Done", 1)
    assert record_of(log.run).deliver_start == 0


async def test_a_worker_that_is_lost_between_result_and_move_loses_neither() -> None:
    it = site()
    run = await it.at_work()
    await hand_in(it.client, run.id, 1, GOOD)
    await it.log(run).ended(AgentResult(AgentOutcome.SUCCEEDED))
    for _ in range(3):
        await it.sweep()
    assert (it.place, it.comments) == ("Done", [f"Result: {GOOD}"])


async def test_each_attempt_hands_in_its_own() -> None:
    it = site()
    run = await it.at_work()
    for start, text in ((1, "{}"), (11, GOOD)):
        await hand_in(it.client, run.id, start, text)
    assert await handed_in(it.client, run.id, 1) == "{}"
    assert await handed_in(it.client, run.id, 2) is None
    assert await handed_in(it.client, run.id) == GOOD
