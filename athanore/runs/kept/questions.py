"""Questions of agents to people, as they are kept in Prefect: with the run that they belong to.

A question, what became of it, and the form that Prefect's own page shows are inputs of the run.
Each has a key of its own, and Prefect takes each key once: so of two answers at the same moment,
or of an answer and the end of its time, one counts. A variable for each open question says which
run it belongs to; it only makes open questions quick to find. docs/formats.md has all of this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Suspended
from pydantic import TypeAdapter, ValidationError

from athanore import names
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState

PREFIX = "athanore-question-"
_TAG = "athanore-question"
_LONGEST_MESSAGE = 500


class Fate(StrEnum):
    """What has become of a question."""

    PENDING = "pending"
    """Nobody has answered it yet."""

    ANSWERED = "answered"
    """A person has answered it, or its time was over and it has a default."""

    EXPIRED = "expired"
    """Nobody has answered it in time, and it has no default."""

    WITHDRAWN = "withdrawn"
    """Nobody needs an answer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a question.

    Attributes:
        fate: not `PENDING`.
        answer: a text; or what the question's schema asks for.
        by: who has answered, as they call themselves.
        reason: why it was withdrawn, or why an approval was not given.
    """

    fate: Fate
    at: datetime
    answer: Any = None
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a run.

    Attributes:
        id: the same for the same words and choices in the same run.
        choices: one of them is the answer, if there are any.
        schema: what an answer that is no text looks like, as a JSON schema.
        expires_at: when nobody needs to answer any more; None: never.
        default: the answer if nobody has given one by then; None: there is none.
        attempt: the attempt that asked first.
        by_comment: a comment on the card may answer it.
        is_approval: the run itself asks whether its agent may start, or what it has committed may
            be published.
        commit: what is to be published, the newest commit of a branch; "" for anything else.
    """

    id: str
    run_id: UUID
    task_id: str
    text: str
    asked_at: datetime
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    default: str | None = None
    attempt: int = 1
    by_comment: bool = False
    is_approval: bool = False
    commit: str = ""
    ending: Ending | None = None

    @property
    def fate(self) -> Fate:
        """What has become of it."""
        return Fate.PENDING if self.ending is None else self.ending.fate

    @property
    def in_commands(self) -> str:
        """What commands name that decide on an approval: its task, or a question by itself.

        The latter where a commit is to be published, so that a yes is one to this commit.
        """
        return self.id if self.commit else self.task_id


@dataclass(frozen=True, slots=True)
class Listed:
    """Where an open question is kept.

    Attributes:
        waits_until: so long its agent waits for the answer, in a call of an API that is not in the
            process of its worker.
    """

    id: str
    run_id: UUID
    task_id: str
    waits_until: datetime | None = None


_QUESTION = TypeAdapter(Question)
_ENDING = TypeAdapter(Ending)
_LISTED = TypeAdapter(Listed)


def id_of(run_id: UUID, text: str, choices: tuple[str, ...], schema: object) -> str:
    """The id of a question: the same words and choices in the same run are the same question."""
    said = json.dumps([str(run_id), " ".join(text.split()), choices, schema], sort_keys=True)
    return sha256(said.encode()).hexdigest()[:10]


async def keep(prefect: RunStore, question: Question) -> None:
    """Keep a question that was just asked, if the run has it not; see `list_it`."""
    value = json.dumps(_QUESTION.dump_python(replace(question, ending=None), mode="json"))
    await prefect.note_first(question.run_id, f"{PREFIX}{question.id}", value)


async def is_listed(prefect: RunStore, question_id: str) -> bool:
    """Whether a question is found by its id."""
    return await prefect.value(f"{PREFIX}{question_id}") is not None


async def list_it(
    prefect: RunStore, app: str, question: Question, waits_until: datetime | None = None
) -> None:
    """Have an open question found by its id."""
    value = asdict(Listed(question.id, question.run_id, question.task_id, waits_until))
    kept = {k: str(v) for k, v in value.items() if v is not None}
    await prefect.keep(f"{PREFIX}{question.id}", kept, [_TAG, names.app_tag(app)])


async def unlist(prefect: RunStore, question_id: str) -> None:
    """Have a question not found any more that is not open."""
    await prefect.forget(f"{PREFIX}{question_id}")


async def all_listed(prefect: RunStore, app: str) -> list[Listed]:
    """The questions of an app that are open, or were a moment ago."""
    found: list[Listed] = []
    for kept in await prefect.values([_TAG, names.app_tag(app)]):
        try:
            found.append(_LISTED.validate_python(kept.value))
        except ValidationError:
            continue  # somebody else's
    return found


async def of_run(prefect: RunStore, run_id: UUID) -> list[Question]:
    """All questions of a run, as they were asked."""
    notes = dict(await prefect.notes(run_id, PREFIX))
    found: list[Question] = []
    for key, text in notes.items():
        own = key.removeprefix(PREFIX)
        if "-" in own:
            continue
        try:
            question = _QUESTION.validate_json(text)
        except ValidationError:
            continue
        if question.id == own and question.run_id == run_id:
            found.append(replace(question, ending=_ending(notes, question)))
    return sorted(found, key=lambda q: q.asked_at)


async def end(prefect: RunStore, question: Question, ending: Ending) -> bool:
    """Note what became of a question; False if something else had become of it before."""
    value = json.dumps(_ENDING.dump_python(ending, mode="json"))
    return await prefect.note_first(question.run_id, f"{PREFIX}{question.id}-end", value)


def _ending(notes: Mapping[str, str], question: Question) -> Ending | None:
    """What is noted of it; or what somebody has sent by Prefect's own page."""
    try:
        if (noted := notes.get(f"{PREFIX}{question.id}-end")) is not None:
            return _ENDING.validate_json(noted)
        for key, text in notes.items():
            if key.startswith(f"{PREFIX}{question.id}-") and key.endswith("-response"):
                sent = json.loads(text)
                said = str(sent.get("by") or "") or "Prefect's page"
                return Ending(
                    fate=Fate.ANSWERED, at=question.asked_at, answer=sent["answer"], by=said
                )
    except (ValidationError, ValueError, KeyError, AttributeError):
        pass
    return None


# -- the state of a run that waits ----------------------------------------------------------------


def suspended(question: Question, start: int) -> State[Any]:
    """The state of a run that waits for an answer, from a start of this number on.

    Prefect refuses a key of a pause that the run has had: so it has the number of the start in it.
    """
    key = f"{question.id}-{start}"
    first = " ".join(question.text.split())[:_LONGEST_MESSAGE]
    state: State[Any] = Suspended(pause_key=key, message=f"Waits for an answer: {first}")
    state.state_details.run_input_keyset = {
        kind: f"{PREFIX}{key}-{kind}" for kind in ("schema", "description", "response")
    }
    return state


def waits_for(run: FlowRun) -> str | None:
    """The id of the question that a run is suspended for; None if it is not, or not by us."""
    state = run.state
    if state is None or state.type is not StateType.PAUSED:
        return None
    wanted = record_of(run).question
    key = (state.state_details.pause_key or "").rpartition("-")[0]
    return wanted if wanted and key == wanted else None


async def save_form(prefect: RunStore, run: FlowRun, question: Question) -> bool:
    """Save the form that a suspended run is resumed with; False if it is there already.

    After the state and not before it: Prefect deletes what is there when a run is suspended.
    """
    keys = run.state.state_details.run_input_keyset if run.state else None
    if not keys:
        return False
    schema = json.dumps(form(question))
    is_new = await prefect.note_first(run.id, keys["schema"], schema)
    if is_new:
        await prefect.note_first(run.id, keys["description"], question.text)
    return is_new


def form(question: Question) -> dict[str, Any]:
    """What an answer looks like in Prefect, as a JSON schema."""
    answer: dict[str, Any] = {"type": "string"}
    if question.schema is not None:
        answer = dict(question.schema)
    elif question.choices:
        answer |= {"enum": list(question.choices)}
    return {
        "title": "Answer",
        "type": "object",
        "properties": {
            "answer": {"title": "Answer", **answer, "position": 0},
            "by": {"title": "Your name", "type": "string", "default": "", "position": 1},
        },
        "required": ["answer"],
    }


async def resume(prefect: RunStore, run: FlowRun, question: Question) -> bool:
    """Have a run go on that is suspended for a question with an end; False if it is not (now)."""
    if waits_for(run) != question.id or question.ending is None:
        return False
    said = {"answer": _sendable(question), "by": question.ending.by}
    answer = await prefect.resume(run.id, said)
    if not answer.accepted and await save_form(prefect, run, question):
        answer = await prefect.resume(run.id, said)
    if not answer.accepted:
        now = await prefect.read_run(run.id)
        if waits_for(now) == question.id:
            # The form is not as it was saved: what counts is the note, which the start reads.
            resuming = State(type=StateType.SCHEDULED, name=PrefectState.RESUMING)
            answer = await prefect.propose(run.id, resuming)
    return answer.accepted


def _sendable(question: Question) -> Any:
    """The answer for the form; of a question without one, what the form takes."""
    ending = question.ending
    if ending is not None and ending.fate is Fate.ANSWERED:
        return ending.answer
    return question.choices[0] if question.choices else f"({question.fate})"


def in_words(answer: Any) -> str:
    """An answer as text."""
    if isinstance(answer, str):
        return answer
    return json.dumps(answer, ensure_ascii=False, indent=1)
