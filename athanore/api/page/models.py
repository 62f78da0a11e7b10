"""What the board page is told: queues, their routes, and cards."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from athanore.api.models import NeedsPersonModel, ProviderLimitModel
from athanore.runs.open_runs import Phase

MAX_CARDS = 2000
"""How many tasks of a board are shown at most."""

type Action = Literal["dispatch", "cancel", "requeue"]


class BoardRouteModel(BaseModel):
    """A route that watches a queue."""

    name: str
    agent: str = Field(description="What is started for a task.")
    poll_interval: float = Field(description="Seconds.")
    deployed: bool
    paused: list[Literal["polls", "agents"]] = Field(description="Which of its parts are paused.")
    pause_reason: str | None = Field(description="Why it paused itself; null if it did not.")


class BoardQueueModel(BaseModel):
    """A queue: a column of the board."""

    name: str
    task_count: int
    hidden: int = Field(description="How many of its tasks are not among the cards.")
    kind: Literal["watched", "in-progress", "dead-letter", "other"]
    route: BoardRouteModel | None = Field(description="The first of `routes`, or null.")
    routes: list[BoardRouteModel] = Field(description="All that watch it, by their rank.")


class CardRunModel(BaseModel):
    """The agent run of a card."""

    id: str
    phase: Phase
    attempt: int = Field(description="The current or last attempt, from 1.")
    max_attempts: int
    since: datetime | None = Field(description="When it came into this phase.")
    due: datetime | None = Field(description="When a waiting run or a retry may start.")
    message: str = Field(description="Why it waits or is repeated; often empty.")
    last_line: str | None = Field(description="What its agent said last.")
    route: str = Field(description="The queue that the task was taken from.")
    worker: str | None
    url: str | None = Field(description="The run in Prefect's UI.")


class CardLetterModel(BaseModel):
    """Why a task was given up."""

    reason: str
    attempts: int | None = Field(description="Null for a task that a person put there.")
    since: datetime | None
    route: str | None
    url: str | None = Field(description="The run in Prefect's UI.")


class CardModel(BaseModel):
    """A task on the board."""

    id: str
    name: str
    queue_name: str
    labels: list[str]
    assignees: list[str]
    run: CardRunModel | None
    dead_letter: CardLetterModel | None
    needs_person: str | None = Field(description="Why it waits for a person.")
    waits_for: str | None = Field(
        description="What it waits for, in sentences; null while an agent works on it, at rest, "
        "and while Prefect does not answer."
    )
    until: datetime | None = Field(description="When that ends by itself, where it is known.")
    actions: list[Action] = Field(description="What can be done with it now.")


class BoardModel(BaseModel):
    """The board as it is now."""

    app: str
    queues: list[BoardQueueModel] = Field(
        description="In board order; of a board with more than 40 queues only those that routes "
        "name."
    )
    cards: list[CardModel] = Field(
        description=f"Queue by queue, in board order; {MAX_CARDS} at most. Of queues that are too "
        "long the first tasks, where a route takes tasks from them or works in them, else the last."
    )
    max_concurrent_agents: int | None
    active_agents: int | None = Field(description="Null while Prefect does not answer.")
    workers: list[str] = Field(description="The workers that are online.")
    needs_person: list[NeedsPersonModel] = Field(
        description="What no agent and no poll puts right by itself."
    )
    provider_limits: list[ProviderLimitModel] = Field(
        description="Usage limits of the agents' accounts that are reached or near."
    )
    board_error: str | None = Field(
        description="Why the board cannot be read; the cards are then those of the last time."
    )
    prefect_error: str | None = Field(description="Why nothing is known of agents.")
    ui_url: str | None = Field(description="Prefect's UI.")
    starting: bool = Field(
        default=False,
        description="Only the board is there yet: Prefect and the worker are starting.",
    )
