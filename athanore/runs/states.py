"""The names of the states of runs: those that we give, and those of Prefect that we rely on.

A name is what a program may ask for. A message is for people, and the name that Prefect gives by
itself (`PrefectState`) says no more than the type of the state: whoever has to tell one end of a
run from another gives it a name of its own here. docs/formats.md has the same as a table.
"""

from __future__ import annotations

from enum import StrEnum


class StateName(StrEnum):
    """Names that we give to states. Each says who sets it, and what recovery makes of it."""

    NOTHING_READY = "Nothing ready"
    """Completed, by a poll that found nothing to do. Such polls are deleted after an hour."""

    UNCHANGED = "Unchanged"
    """Completed, by a worker for a poll that was due and would have found nothing, as the one
    before it: the board has not changed since. Such polls are deleted after an hour."""

    JOINED = "Joined"
    """Completed, by a worker for a poll that somebody has started while another one of its route
    looked, or was about to: that one stands for it. Such polls are deleted after an hour."""

    NO_SUCH_ROUTE = "No such route"
    """Completed, by a poll in a process that does not have its route (yet). Nothing is made of it:
    the next poll may be another process's."""

    BOARD_UNAVAILABLE = "BoardUnavailable"
    """Failed, by a poll whose board does not answer. Nothing is made of it; the next poll asks."""

    BOARD_REFUSED = "BoardRefused"
    """Failed, by a poll that the board refuses. Nothing is made of it; the next poll asks."""

    HANDED_OVER = "HandedOver"
    """Completed, by a run that was started by hand: another run has the task. Nothing is due."""

    NOTHING_TO_DO = "Nothing to do"
    """Cancelled, by a run whose task was elsewhere when its turn came, or by a poll that saw so
    before. Nobody's wish: the task may have a run again as soon as it comes back."""

    SUPERSEDED = "Superseded"
    """Cancelled, by whoever dispatches a task that came to another route. Nobody's wish."""

    ROUTE_REMOVED = "Route removed"
    """Cancelled, by whoever removes a route, for the runs that wait; and by the sweep, for those of
    a route that is gone. Nobody's wish."""

    BOARD_LEFT = "Board left"
    """Cancelled, by a deploy to another board. Its record is closed: nothing is due."""

    STOPPED = "Stopped"
    """Cancelled, by a run whose worker stops while the task is in a queue that is none of its
    route's, or gone. Nothing is due."""

    NOWHERE_TO_GO = "Nowhere to go"
    """Cancelled, by a run that should return its task to a queue that is gone from the board. Its
    record is closed: the task stays in progress, with a comment."""

    MOVED_AWAY = "Task moved away"
    """Cancelling, by the sweep when it finds the task of a working run elsewhere. The agent is
    stopped, and its task left where it is."""

    WAITING_FOR_BOARD = "Waiting for the board"
    """Scheduled, by a run that has its agent's result and cannot tell the board. Its next start
    tells it, without an agent."""

    WAITING_TO_PUBLISH = "Waiting to publish"
    """Scheduled, by a run whose agent has succeeded and whose branch cannot be published now. Its
    next start publishes it, without an agent."""

    WAITING_TO_GO_ON = "Waiting to go on"
    """Scheduled, by a run whose agent has handed in its result, and whose `then` function failed on
    it. Its next start calls that again, without an agent."""

    NOT_PUBLISHED = "Not published"
    """Failed, by a run whose agent has succeeded and whose branch a person has to look at before it
    is published. The dead-letter move is due."""

    GOES_ROUND = "Goes round"
    """Failed, by a run whose task has come to the route too often (`max_rounds`), before an agent
    starts. The dead-letter move is due. Rounds are counted from here on anew."""

    QUESTION_WITHDRAWN = "Question withdrawn"
    """Cancelled, by the sweep, for a suspended run whose task was moved or is gone. Nobody's wish,
    and nothing is due: the task stays where somebody has put it."""

    QUESTION_EXPIRED = "Question expired"
    """Failed, by a run whose question nobody has answered in time, and which has no default. The
    dead-letter move is due."""

    REJECTED = "Rejected"
    """Cancelled, by a run to whose start, or to the publishing of its branch, an operator has said
    no. Its record is closed: the task is where `rejected_queue` says, and nothing is due."""

    STALLED = "Stalled"
    """Failed, by a run whose agent was silent for `stall_timeout`. The dead-letter move is due."""


class PrefectState(StrEnum):
    """Names that Prefect gives, as far as we read or show them; `StateType` tells most of it."""

    SCHEDULED = "Scheduled"
    """Scheduled, by whoever creates a run. It waits."""

    LATE = "Late"
    """Scheduled, by Prefect's server, when a run is not taken for some seconds. It waits."""

    AWAITING_RETRY = "AwaitingRetry"
    """Scheduled, by a run whose task goes back to its queue, and by recovery. The attempt that
    follows is offered to workers when it is due."""

    AWAITING_SLOT = "AwaitingConcurrencySlot"
    """Scheduled, by a run that may not begin yet (no slot, board away, an earlier start). The start
    is given back."""

    PENDING = "Pending"
    """Pending, by the worker that takes a run; its message names the worker (`Holder`). Recovery
    schedules the run anew when that worker is lost."""

    RUNNING = "Running"
    """Running, by Prefect's engine. Recovery marks the run as Crashed when its worker is lost."""

    RESUMING = "Resuming"
    """Scheduled, by Prefect when a suspended run is resumed, and by whoever answers the question
    that it waits for."""

    PAUSED = "Paused"
    """Paused, by a person. The agent is stopped, its start given back, and the state made
    Suspended."""

    SUSPENDED = "Suspended"
    """Paused, by a person, by us after Paused, or by a run whose agent has asked a person and has
    ended. It waits until it is resumed, which an answer does."""

    CANCELLING = "Cancelling"
    """Cancelling, by whoever cancels a run that a worker has. Recovery ends the cancellation when
    that worker is lost."""

    CANCELLED = "Cancelled"
    """Cancelled, by a run whose agent was stopped, or by Prefect for one that waited. If somebody
    wished it before the agent began, recovery puts the task aside (`clearing.is_wished`)."""

    COMPLETED = "Completed"
    """Completed, by a run whose agent succeeded, or by a poll. Nothing is due."""

    FAILED = "Failed"
    """Failed, by a run without attempts left. Recovery makes up for a missing dead letter."""

    TIMED_OUT = "TimedOut"
    """Failed, by a run whose agent had no time left; Prefect gives its own limits the same name.
    As Failed."""

    CRASHED = "Crashed"
    """Crashed, by recovery, an automation, or Prefect. Recovery returns the task to its queue, or
    finishes what the attempt had come to."""


def event_of(state: StateName | PrefectState, kind: str = "flow-run") -> str:
    """The name of the event that Prefect emits when a run comes into a state of this name.

    Args:
        kind: `flow-run` or `task-run`.
    """
    return f"prefect.{kind}.{state}"


def in_short(name: str | None, message: str | None) -> str:
    """A state in one line: `Failed: exit code 3`; what follows the first line is left out."""
    first = (message or "").partition("\n")[0]
    return f"{name}: {first}" if first else name or ""


UNTOLD = frozenset(
    {StateName.WAITING_FOR_BOARD, StateName.WAITING_TO_PUBLISH, StateName.WAITING_TO_GO_ON}
)
"""States of runs whose agent has ended, and whose next start sees to what follows, without one."""

NOBODYS_WISH = frozenset(
    {
        StateName.NOTHING_TO_DO,
        StateName.SUPERSEDED,
        StateName.ROUTE_REMOVED,
        StateName.BOARD_LEFT,
        StateName.QUESTION_WITHDRAWN,
    }
)
"""Cancelled states of runs that waited which say nothing about whether the task is wanted.

Whoever else cancels a run that waits, wishes that its task is not worked on.
"""
