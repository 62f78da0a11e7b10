"""Every error that Athanore raises on purpose.

    AthanoreError
    +-- ConfigurationError        the set-up is wrong: mend it and start again
    |   +-- RouteError            one route's options are wrong
    |   |   +-- RouteConflictError  it is in the way of another route, or that in its
    |   +-- AppTakenError         Prefect has another app of this name
    +-- BoardError                the board refused or could not do something
    |   +-- NotFoundError
    |   |   +-- TaskNotFoundError
    |   |   +-- QueueNotFoundError
    |   |   +-- RouteNotFoundError  no route watches this queue
    |   |   +-- WorkerNotFoundError  not one worker is called so
    |   |   +-- QuestionNotFoundError  no question that is open has this id
    |   +-- QueueExistsError      a queue of that name is there already
    |   +-- QueueNotEmptyError    only an empty queue can be deleted
    |   +-- TaskMovedError        the task is not where the claim expected it: leave it alone
    |   +-- InvalidTaskError      a value that the board cannot take (an empty name, say)
    |   +-- NotSupportedError     the board has no such call: its own settings have it
    |   +-- BoardUnavailableError try again later, nothing was changed
    |       +-- BoardBrokenError  a person has to mend the board's data first
    |   +-- AnswerLostError       a write may have been done: look before doing it again
    |   +-- WebhookRefusedError   a webhook's delivery is not signed as it must be
    |   +-- BoardAccessError      credentials or membership are wrong: a person has to act
    |       +-- BoardNotWritableError  the board does not take changes: a person has to act
    +-- DispatchError             a task cannot be dispatched now; the message says why
    |   +-- TaskBusyError         another run works on the task, or waits to
    |   +-- AmbiguousRouteError   several routes watch the queue that was named
    |   +-- TaskNotOursError      another route takes the task now, or none
    |   +-- MatchError            a route's `match` fails on the task
    |   +-- AgentChoiceError      the function of agent= or model= fails on it
    |   +-- QuestionClosedError   a question is answered already, or nobody waits for an answer
    +-- InvalidAnswerError        an answer does not fit its question
    +-- ResultRefusedError        a result does not fit the `output` of its route
    +-- WorkspaceError            there is no folder for an agent to work in, or it is in use
    |   +-- SpoiledFolderError    what is in a folder cannot be read, whatever the host does
    +-- PublishError              an agent's work cannot be published now: it is tried again
    |   +-- PublishRefusedError   it is not published until a person has looked at it
    |   +-- BranchMovedError      it is not what a person has looked at
    |   +-- BranchNotHereError    it is on another host
    +-- PrefectUnavailableError   the Prefect server did not answer
        +-- PrefectRefusesError   it does not let us in, or is none

Messages say what was wrong, with the value, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import ClassVar

_SHOWN = 10


def _names(existing: Iterable[str], wanted: str) -> str:
    """Render the names that exist, the likeliest first, for an error message."""
    names = list(existing)
    if not names:
        return "There are none."
    close = get_close_matches(wanted, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}There are: {', '.join(repr(n) for n in names)}."


def reason(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing, as time-outs do."""
    return " ".join(str(error).split()) or type(error).__name__


class AthanoreError(Exception):
    """The root of all errors that Athanore raises on purpose."""


class ConfigurationError(AthanoreError):
    """The set-up is wrong. Mend what the message names and start again."""


class RouteError(ConfigurationError):
    """A route's options are wrong."""


class RouteConflictError(RouteError):
    """A route is right by itself, and in the way of another one, or that one in its."""


class AppTakenError(ConfigurationError):
    """Prefect has another app of this name: one on another board, or from another place."""


class BoardError(AthanoreError):
    """The board refused or could not do something."""


class NotFoundError(BoardError):
    """Something that was asked for by name or id does not exist on the board."""


class TaskNotFoundError(NotFoundError):
    """No task has this id; `existing` has the names of the open tasks by id, if they are known."""

    def __init__(self, task_id: str, existing: Mapping[str, str] | None = None) -> None:
        self.task_id = task_id
        self.existing = dict(existing or {})
        text = f"No task has the id {task_id!r}."
        if existing is not None:
            shown = [f"{i!r} ({name})" for i, name in self.existing.items()]
            more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            text += f" The open tasks are: {', '.join(shown[:_SHOWN]) or 'none'}{more}."
        super().__init__(text)


class QueueNotFoundError(NotFoundError):
    """No queue has this name; `existing` lists the names that there are."""

    def __init__(self, queue_name: str, existing: Iterable[str] = ()) -> None:
        self.queue_name = queue_name
        self.existing = list(existing)
        super().__init__(f"No queue is called {queue_name!r}. {_names(self.existing, queue_name)}")


class RouteNotFoundError(NotFoundError):
    """No route is called so or watches such a queue; `existing` lists what there is."""

    def __init__(self, queue_name: str, existing: Iterable[str]) -> None:
        self.queue_name = queue_name
        self.existing = list(existing)
        close = get_close_matches(queue_name, self.existing, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        watched = ", ".join(repr(q) for q in self.existing) or "no queues"
        super().__init__(f"No route watches {queue_name!r}.{hint} Watched are: {watched}.")


class WorkerNotFoundError(NotFoundError):
    """Not one worker that lives is called so; `existing` lists what there is."""

    def __init__(self, worker: str, existing: Iterable[str], fitting: Sequence[str] = ()) -> None:
        self.worker = worker
        self.existing = list(existing)
        if fitting:
            text = f"{worker!r} may be one of several workers: {', '.join(fitting)}; name one."
        else:
            text = f"No worker that lives is called {worker!r}. {_names(self.existing, worker)}"
        super().__init__(text)


class QueueExistsError(BoardError):
    """A queue of that name is there already."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"A queue called {queue_name!r} exists already; choose another name.")
        self.queue_name = queue_name


class QueueNotEmptyError(BoardError):
    """Only an empty queue can be deleted."""

    def __init__(self, queue_name: str, task_count: int) -> None:
        noun = "task" if task_count == 1 else "tasks"
        super().__init__(
            f"The queue {queue_name!r} holds {task_count} {noun}; move them away first."
        )
        self.queue_name = queue_name
        self.task_count = task_count


class TaskMovedError(BoardError):
    """The task is not in the queue where a claim expected it: somebody else has moved it."""

    def __init__(self, task_id: str, expected: str, actual: str) -> None:
        super().__init__(f"Task {task_id!r} is in {actual!r} and no longer in {expected!r}.")
        self.task_id = task_id
        self.expected = expected
        self.actual = actual


class InvalidTaskError(BoardError):
    """The board cannot take this value; the message names the field."""


class NotSupportedError(BoardError):
    """The board has no such call; the message says where it is done instead."""


class BoardUnavailableError(BoardError):
    """The board did not answer. Nothing was changed; try again later.

    `retry_after` is how long the board asks to be left alone, if it has said so (a rate limit).
    """

    def __init__(self, *args: object, retry_after: timedelta | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class BoardBrokenError(BoardUnavailableError):
    """The board's data are damaged; a person has to mend them, and then work goes on by itself."""


class AnswerLostError(BoardError):
    """The answer to a write was lost: it may have been done. Look before doing it again.

    `may_repeat` is true where the adapter remembers the write: the same call again looks for it,
    and does it only if it is not there.
    """

    def __init__(self, *args: object, may_repeat: bool = False) -> None:
        super().__init__(*args)
        self.may_repeat = may_repeat


class WebhookRefusedError(BoardError):
    """A webhook's delivery is not signed as it must be: nobody knows who has sent it."""


class BoardAccessError(BoardError):
    """The board refuses the credentials, or the user may not do this; a person has to act."""

    in_short: ClassVar[str] = "the board refuses access"


class BoardNotWritableError(BoardAccessError):
    """The board takes no changes, because a disk is full, say; a person has to act."""

    in_short: ClassVar[str] = "the board cannot be changed"


class DispatchError(AthanoreError):
    """A task cannot be dispatched now; the message says why."""


class TaskBusyError(DispatchError):
    """Another run works on the task, or waits to."""

    def __init__(self, task_id: str, run_id: str, run_name: str) -> None:
        super().__init__(
            f"Task {task_id!r} has an agent run already: {run_name!r} ({run_id}). "
            "Wait until it ends, or cancel it first."
        )
        self.task_id = task_id
        self.run_id = run_id
        self.run_name = run_name


class AmbiguousRouteError(DispatchError):
    """Several routes watch the queue that was named instead of a route."""

    def __init__(self, queue_name: str, names: Sequence[str]) -> None:
        listed = ", ".join(repr(name) for name in names)
        super().__init__(f"Several routes watch {queue_name!r}; name one of them: {listed}.")
        self.queue_name = queue_name
        self.names = list(names)


class TaskNotOursError(DispatchError):
    """Another route takes the task now, or none does: its labels or assignees have changed."""

    def __init__(self, task_id: str, route: str, owner: str | None) -> None:
        whose = "no route takes it" if owner is None else f"{owner!r} takes it"
        super().__init__(f"Task {task_id!r} is not {route!r}'s any more: {whose} now.")


class MatchError(DispatchError):
    """The `match` function of a route fails on a task, so that nobody knows whose it is."""

    def __init__(self, route: str, task_id: str, error: Exception) -> None:
        super().__init__(
            f"Task {task_id!r} is held: match= of route {route!r} fails on it "
            f"({type(error).__name__}: {reason(error)})."
        )


class AgentChoiceError(DispatchError):
    """The function that says which agent, or which model, works on a task fails on it."""

    def __init__(self, route: str, task_id: str, error: Exception) -> None:
        super().__init__(
            f"Task {task_id!r} is held: route {route!r} has no agent for it "
            f"({type(error).__name__}: {reason(error)}). Mend the function of agent= or model=; "
            "the other tasks go on."
        )


class QuestionNotFoundError(NotFoundError):
    """No question that is open has this id; `existing` lists those that are."""

    def __init__(self, question_id: str, existing: Iterable[str]) -> None:
        self.question_id = question_id
        self.existing = list(existing)
        there = ", ".join(self.existing) or "none"
        super().__init__(
            f"No open question has the id {question_id!r}; it may be answered already. Open are: "
            f"{there}."
        )


class QuestionClosedError(DispatchError):
    """A question is answered already, or nobody waits for an answer any more."""


class InvalidAnswerError(AthanoreError):
    """An answer does not fit its question, or a question asks for what cannot be checked."""


class WorkspaceError(AthanoreError):
    """There is no folder for an agent to work in, or it may not be touched; the message says why.

    Attributes:
        output: the last lines of the command that failed; "" if none did.
    """

    def __init__(self, message: str, output: str = "") -> None:
        self.output = output
        super().__init__(message)


class SpoiledFolderError(WorkspaceError):
    """What is in a folder cannot be read, because of whoever worked there and not of the host."""


class ResultRefusedError(AthanoreError):
    """What an agent hands in is no result of its route; the message says what is wrong with it.

    Attributes:
        fields: where it is wrong, and how.
    """

    def __init__(self, model: str, fields: Sequence[tuple[str, str]]) -> None:
        said = "; ".join(f"{field}: {wrong}" for field, wrong in fields)
        super().__init__(f"The result is no {model}: {said}.")
        self.fields = list(fields)


class PublishError(AthanoreError):
    """What an agent did cannot be published now; it is tried again. The message says why."""


class PublishRefusedError(PublishError):
    """What an agent did is not published before a person has looked at it; the message says why.

    Attributes:
        about_ci: it is only because of the files that it changes.
    """

    def __init__(self, message: str, *, about_ci: bool = False) -> None:
        self.about_ci = about_ci
        super().__init__(message)


class BranchMovedError(PublishError):
    """A task's branch is not at the commit that was approved any more."""


class BranchNotHereError(PublishError):
    """This host does not have what was committed for a task."""

    def __init__(self, task_id: str, host: str) -> None:
        super().__init__(f"what was committed for task {task_id!r} is not on this host ({host})")


class PrefectUnavailableError(AthanoreError):
    """The Prefect server did not answer."""


class PrefectRefusesError(PrefectUnavailableError):
    """What answers at Prefect's address does not let us in, or is no Prefect."""


def unknown_option(what: str, wanted: str, options: Iterable[str]) -> ConfigurationError:
    """The error of a name that is no option of `what`: it says which one may be meant."""
    known = sorted(options)
    close = get_close_matches(wanted, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}=?" if close else f"there are {', '.join(known)}."
    return ConfigurationError(f"{what} has no option {wanted}=; {hint}")
