"""What the API takes and gives: the shapes of its JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from athanore import models
from athanore.services.runs import LONGEST_REASON
from athanore.services.showing.views import Kind, NeedsPerson, ProviderLimit
from athanore.services.status.reasons import Explanation
from athanore.texts import kept_readable, readable

# Something to be seen: neither space nor a control character, in the words of Rust's and
# JavaScript's regex. That is all that is asked for, so the document can say it.
Visible = Annotated[
    str,
    StringConstraints(min_length=1, pattern=r"[^\s\x01-\x1f\x7f-\x9f]"),
    AfterValidator(kept_readable),
]
type Name = Visible  # a schema of its own in the OpenAPI document
Words = Annotated[str, AfterValidator(readable)]


class RequestModel(BaseModel):
    """A body that is sent to us: a field that we do not know is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid")


class CommentModel(BaseModel):
    """A comment on a task."""

    text: str
    author: str | None = Field(
        default=None, description="Who wrote it; null where the board has no name."
    )
    created_at: datetime | None = Field(
        default=None, description="When; null where the board has no time."
    )
    id: str | None = Field(
        default=None, description="The board's id of it; null where the board has none."
    )


class SeenByModel(BaseModel):
    """Whose agent has told something; empty texts where that was not noted."""

    app: str
    route: str
    host: str


class ProviderLimitModel(BaseModel):
    """A usage limit of an account at its provider that is reached, or near."""

    account: str = Field(description="Its kind, and the beginning of a digest.")
    kind: str = Field(description="Which limit, in words: `5-hour`.")
    reached: bool = Field(description="False: much of it is used, and agents go on.")
    until: datetime | None = Field(
        description="When agents start again, or the limit is reset; null if nobody has said so."
    )
    used: float | None = Field(
        description="How much of it is used, from 0 to 1; null if nobody has said so."
    )
    seen_by: SeenByModel
    says: str = Field(description="The same, as a sentence.")

    @classmethod
    def of(cls, limit: ProviderLimit) -> ProviderLimitModel:
        """A limit for an answer."""
        seen = limit.seen_by
        return cls(
            account=limit.account,
            kind=limit.kind,
            reached=limit.reached,
            until=limit.until,
            used=limit.used,
            seen_by=SeenByModel(app=seen.app, route=seen.route, host=seen.host),
            says=limit.in_words(),
        )


class NeedsPersonModel(BaseModel):
    """Something that no agent and no poll puts right by itself."""

    kind: Kind
    says: str = Field(description="What is the matter.")
    mend: str = Field(description="What mends it: a command where one does.")
    task_id: str | None
    route: str | None

    @classmethod
    def of(cls, matter: NeedsPerson) -> NeedsPersonModel:
        """A matter for an answer."""
        return cls(
            kind=matter.kind,
            says=matter.says,
            mend=matter.mend,
            task_id=matter.task_id,
            route=matter.route,
        )


class ChecklistItemModel(BaseModel):
    """A line of a task's checklist."""

    id: str | None = None
    name: str
    is_completed: bool = False


class RunModel(BaseModel):
    """An agent run, as Prefect knows it."""

    id: str = Field(description="The id of the Prefect flow run.")
    name: str
    state: str = Field(description="Prefect's name of the state: Running, Scheduled, Failed, ...")
    queue_name: str = Field(description="The queue that the route of the run watches.")
    route: str = Field(description="The name of the route whose agent works.")
    attempt: int = Field(description="The current or last attempt, from 1.")
    worker: str | None = Field(default=None, description="Who runs it: host and process.")
    url: str | None = Field(default=None, description="The run in Prefect's UI.")


class DispatchedModel(RunModel):
    """The agent run that a dispatch came to."""

    created: bool = Field(description="Whether it was made now; else it was waiting already.")


class RunRecordModel(RunModel):
    """An agent run, past or present."""

    message: str = Field(description="What Prefect's state says of it; often empty.")
    started_at: datetime | None = Field(description="Null for a run that has not started.")
    ended_at: datetime | None = Field(description="Null for a run that is not over.")


class ResultRequest(RequestModel):
    """What an agent hands in."""

    result: dict[str, Any] = Field(
        description="What the agent has come to, as the `output` of its route says."
    )


class ResultModel(BaseModel):
    """What an agent has handed in."""

    task_id: str
    run_id: str = Field(description="The run of the agent in Prefect.")
    result: dict[str, Any]


class TaskSummary(BaseModel):
    """A task in a list: without its comments and its checklist."""

    id: str
    name: str
    queue_name: str = Field(description="The queue that the task is in.")
    description: str
    labels: list[str]
    assignees: list[str]
    url: str | None = Field(description="Its page on the board; null where it has none.")
    author: str | None = Field(description="Who made it; null where the board does not say it.")
    priority: str | None = Field(description="The board's own word, such as `High`; or null.")
    created_at: datetime | None = Field(description="When it was made, where the board says it.")
    updated_at: datetime | None = Field(description="When it was changed last, where it says it.")


class ListedTaskModel(TaskSummary):
    """A task in a list, and why it waits."""

    waits_for: str | None = Field(
        description="What it waits for, in sentences, as `athanore explain` says it; null while an "
        "agent works on it, at rest, and while Prefect does not answer within 2 s. It was true at "
        "most a few seconds ago."
    )
    until: datetime | None = Field(description="When that ends by itself, where it is known.")


class TaskModel(TaskSummary):
    """A task, whole."""

    comments: list[CommentModel] = Field(description="Oldest first.")
    tasks: list[ChecklistItemModel] = Field(description="The checklist.")
    retry_count: int | None = Field(
        description="How often the current or last run repeated its attempt; "
        "null while Prefect does not answer."
    )
    active_run: RunModel | None = Field(
        description="The run that works on the task or waits to; null if there is none "
        "or Prefect does not answer."
    )


class ExplanationModel(BaseModel):
    """Why a task is where it is."""

    task_id: str
    task_name: str
    queue_name: str = Field(description="The queue that the task is in.")
    route: str | None = Field(
        description="The route whose agent works on it or will; null if there is none."
    )
    reason: str = Field(description="What happens now, or what the task waits for, in sentences.")
    until: datetime | None = Field(description="When that ends by itself, where it is known.")
    commands: list[str] = Field(description="Commands of `athanore` that would change it.")


class QueueModel(BaseModel):
    """A queue and how many tasks are in it."""

    name: str
    task_count: int


class CommentRequest(RequestModel):
    """A comment to post."""

    comment: Name = Field(description="The text.", examples=["Done, see the branch fix-crash."])


class ProgressRequest(RequestModel):
    """How far an agent is with its task."""

    percent: float = Field(ge=0, le=100, examples=[40])
    text: Words = Field(
        default="", max_length=500, description="What it does.", examples=["Running the tests"]
    )


class MoveRequest(RequestModel):
    """Where a task goes."""

    target_queue: Name = Field(description="The queue's name.", examples=["Review"])


class TaskRequest(RequestModel):
    """A task to create."""

    queue_name: Name = Field(description="The queue it goes to.", examples=["Todo"])
    name: Name = Field(description="The title.", examples=["Fix the crash"])
    description: Words = Field(default="", description="What is to be done.")


class Changes(TypedDict):
    """What `Board.update` takes; None leaves a field as it is."""

    name: str | None
    description: str | None
    labels: list[str] | None
    assignees: list[str] | None


class TaskUpdate(RequestModel):
    """Fields to set; those that are null or not sent stay as they are."""

    name: Name | None = Field(
        default=None, description="The title.", examples=["Fix the crash at start"]
    )
    description: Words | None = Field(default=None, description="The whole new description.")
    labels: list[Name] | None = Field(default=None, description="The whole new list; [] clears it.")
    assignees: list[Name] | None = Field(
        default=None, description="The whole new list; [] clears it."
    )

    def cleaned(self, clean: Callable[[str], str]) -> Changes:
        """The fields as the board takes them, every text passed through `clean`."""
        return {
            "name": None if self.name is None else clean(self.name),
            "description": None if self.description is None else clean(self.description),
            "labels": None if self.labels is None else [clean(x) for x in self.labels],
            "assignees": None if self.assignees is None else [clean(x) for x in self.assignees],
        }


class QueueRequest(RequestModel):
    """The name of a queue."""

    name: Name = Field(examples=["Review"])


class RequeueRequest(RequestModel):
    """Where a task starts again."""

    queue_name: Name | None = Field(
        default=None,
        description="The route's queue; by default that of the route which gave the task up.",
        examples=["Todo"],
    )
    by: Words = Field(
        default="",
        max_length=100,
        description="Who asks for it, for the comment. By default what the token says.",
    )


class DispatchRequest(RequestModel):
    """Which route takes a task."""

    queue_name: Name | None = Field(
        default=None,
        description="The route to take, or its queue: a task that is elsewhere is moved there. By "
        "default the route that takes the task where it is.",
        examples=["Todo"],
    )


class EmptyRequest(RequestModel):
    """Nothing is to be said: send `{}`."""


class CancelRequest(RequestModel):
    """Why an agent is stopped."""

    reason: Words = Field(
        default="",
        max_length=LONGEST_REASON,
        description="Shown in Prefect and in the comment on the task.",
    )
    by: Words = Field(
        default="",
        max_length=100,
        description="Who cancels, beside the reason; not for agents. By default what the token "
        "says.",
    )


def summary_of(task: models.Task) -> TaskSummary:
    """A task for a list."""
    return TaskSummary(
        id=task.id,
        name=task.name,
        queue_name=task.queue_name,
        description=task.description,
        labels=list(task.labels),
        assignees=list(task.assignees),
        url=task.url,
        author=task.author,
        priority=task.priority,
        created_at=task.created_at,
        updated_at=task.updated_at,
    )


def listed(task: models.Task, why: Explanation | None) -> ListedTaskModel:
    """A task for a list, with why it waits."""
    waits = why if why is not None and why.waits else None
    return ListedTaskModel(
        **summary_of(task).model_dump(),
        waits_for=None if waits is None else waits.reason,
        until=None if waits is None else waits.until,
    )


def comment_of(comment: models.Comment) -> CommentModel:
    """A comment for an answer."""
    return CommentModel(
        text=comment.text, author=comment.author, created_at=comment.created_at, id=comment.id
    )


def queue_of(queue: models.Queue) -> QueueModel:
    """A queue for an answer."""
    return QueueModel(name=queue.name, task_count=queue.task_count)
