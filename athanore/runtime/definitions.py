"""Routes as data: what one made over HTTP consists of, and what was changed of one in the code.

A definition is kept in the parameters of the route's deployments, so Prefect's database is the one
place where such routes are. It holds only what was said: the rest is the dispatcher's, as for a
route in the code.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from athanore.dispatcher import AgentDispatcher
from athanore.errors import RouteError
from athanore.routes import Route
from athanore.runtime.prompt_template import PromptTemplate
from athanore.settings import seconds

_YEAR = 366 * 86400

# No program and no database can be given a NUL.
type Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
# Something to be seen, as in `athanore.api.models`.
type QueueName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=500, pattern=r"^[^\x00]*[^\s\x00-\x1f\x85][^\x00]*$"
    ),
]
type Prompt = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=50_000, pattern=r"^[^\x00]*[^\s\x00-\x1f\x85][^\x00]*$"
    ),
]
type Seconds = Annotated[float, Field(ge=0.1, le=_YEAR, allow_inf_nan=False)]
type Delay = Annotated[float, Field(ge=0, le=_YEAR, allow_inf_nan=False)]


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is an integer in its schemas."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


type Count = Annotated[int, Field(ge=0, le=10_000), BeforeValidator(_whole)]
type Some = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(_whole)]
type Rank = Annotated[int, Field(ge=-1_000_000, le=1_000_000), BeforeValidator(_whole)]


PROMPT: Any = {
    "description": "A Jinja template, strict and sandboxed, with `task` (`id`, `name`, "
    "`description`, `queue_name`, `labels`, `assignees`, `comments`, `tasks`) and `attempt` "
    "(from 1). It is filled once for a sample task; one that names what does not exist, or needs "
    "too much time or memory, is refused.",
    "examples": ["Work on task {{ task.id }}: {{ task.name }}.\n{{ task.description }}"],
}


class RouteOptions(BaseModel):
    """The options of a route over HTTP; durations are seconds.

    Those that are not sent, and those that are null, are what the dispatcher says (or, of a route
    in the code, what the code says). An explicit `timeout: null` means no limit.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Prompt | None = Field(default=None, **PROMPT)
    in_progress_queue: QueueName | None = Field(
        default=None, description='Where a task is while an agent works on it: "In Progress".'
    )
    command: Text | None = Field(
        default=None,
        description="The program to start, split as a shell would; no shell is run.",
        examples=["claude"],
    )
    args: list[Text] | None = Field(
        default=None, description="Words after the command and before the prompt."
    )
    timeout: Seconds | None = Field(
        default=None, description="How long an attempt may take; null for no limit."
    )
    poll_interval: Seconds | None = Field(default=None, description="Time between polls.")
    priority: Rank | None = Field(
        default=None, description="Lower is served first; null comes last."
    )
    max_retries: Count | None = Field(default=None, description="Attempts after the first.")
    dead_letter_queue: QueueName | Literal[False] | None = Field(
        default=None,
        description="Where an exhausted task goes; false leaves it in progress, with a comment.",
    )
    done_queue: QueueName | None = Field(
        default=None, description="Where a task goes whose agent succeeded without moving it."
    )
    on_cancel: QueueName | None = Field(
        default=None, description="Where a task goes whose run a person cancelled."
    )
    stall_timeout: Seconds | None = Field(
        default=None,
        description="Stops an agent that has produced neither output nor a call of the task API "
        "with its token for so long.",
    )
    max_concurrent: Some | None = Field(
        default=None, description="Agents of this route at once, beside the app's limit."
    )
    retry_delay: Delay | None = Field(
        default=None, description="Time before a retry; null means the next poll."
    )
    retry_backoff: Annotated[float, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Each further delay is the last one times this: 1."
    )
    retry_max_delay: Seconds | None = Field(
        default=None, description="The cap that backoff grows to."
    )
    retry_jitter: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Up to this share of the delay is added at random: 0."
    )
    max_crashes: Count | None = Field(
        default=None, description="Lost workers that a task survives, apart from its retries."
    )
    pause_after_failures: Some | None = Field(
        default=None, description="So many like failures in a row pause the route: 5."
    )
    resume_after: Seconds | None = Field(
        default=None,
        description="After how long a route that paused itself tries again (900); null: by hand "
        "only.",
    )
    cwd: Text | None = Field(
        default=None, description="The agent's working folder; the worker's by default."
    )
    env: (
        dict[Annotated[str, StringConstraints(min_length=1, pattern=r"^[^=\x00]*$")], Text] | None
    ) = Field(
        default=None,
        description="Variables that are added to the agent's environment. They are kept in "
        "Prefect as they are, so put no secrets here.",
    )

    def said(self) -> dict[str, Any]:
        """The options that were sent, as JSON holds them."""
        return self.model_dump(mode="json", exclude_unset=True)

    def merged(self, changes: RouteOptions) -> RouteOptions:
        """These options after a change; null takes back what was said before."""
        options = {**self.said(), **changes.said()}
        kept = {k: v for k, v in options.items() if v is not None or k in _NULL_COUNTS}
        return RouteOptions.model_validate(kept)

    def applied_to(self, route: Route) -> Route:
        """A route with these options in place of its own.

        Raises:
            RouteError: an option is wrong; the message names it.
        """
        changes: dict[str, Any] = {}
        retry: dict[str, Any] = {}
        for name, value in self.said().items():
            if value is None and name not in _NULL_COUNTS:
                continue
            if name in _DURATIONS:
                value = seconds(value)
            if (field := _RETRY.get(name)) is not None:
                retry[field] = value
            else:
                changes[name] = _CONVERT[name](value) if name in _CONVERT and value else value
        if changes.get("dead_letter_queue") is False:
            changes["dead_letter_queue"] = None
        if retry:
            changes["retry"] = replace(route.retry, **retry)
        return replace(route, **changes)


# Where null is a value, and not the absence of one.
_NULL_COUNTS = {
    "timeout", "priority", "done_queue", "on_cancel", "stall_timeout", "max_concurrent",
    "retry_delay", "retry_max_delay", "resume_after", "cwd",
}  # fmt: skip
_DURATIONS = {
    "timeout", "poll_interval", "stall_timeout", "retry_delay", "retry_max_delay", "resume_after",
}  # fmt: skip
_RETRY = {
    "max_retries": "max_retries",
    "retry_delay": "delay",
    "retry_backoff": "backoff",
    "retry_max_delay": "max_delay",
    "retry_jitter": "jitter",
    "max_crashes": "max_crashes",
}
_CONVERT: dict[str, Any] = {"prompt": PromptTemplate, "args": tuple, "cwd": Path}


class RouteDefinition(BaseModel):
    """What the deployments of a route hold of it, if anything was said over HTTP.

    Attributes:
        source: `api`, the route was made over HTTP; `code`, these options of it were changed.
        signature: proves that an operator said so, where tokens are required; see `sign`.
    """

    model_config = ConfigDict(extra="forbid")

    source: Literal["api", "code"]
    options: RouteOptions
    signature: str | None = None

    def parameter(self) -> dict[str, Any]:
        """The definition as a parameter of a deployment."""
        signed = {"signature": self.signature} if self.signature else {}
        return {"source": self.source, "options": self.options.said(), **signed}


def read_definition(queue_name: str, parameter: Mapping[str, Any]) -> RouteDefinition:
    """Understand what a deployment holds.

    Raises:
        RouteError: it is no definition.
    """
    try:
        return RouteDefinition.model_validate(parameter)
    except ValidationError as exc:
        what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise RouteError(
            f"Route {queue_name!r}: its definition in Prefect is broken: {what}."
        ) from (exc)


def define(
    dispatcher: AgentDispatcher, queue_name: str, definition: RouteDefinition
) -> Route | None:
    """Make the route that a definition describes; None for changes of a route that is no more.

    Raises:
        RouteError: an option is wrong, or the route has nothing to say or to start.
    """
    in_code = dispatcher.routes.get(queue_name)
    if in_code is not None:
        return definition.options.applied_to(in_code)
    if definition.source == "code":
        return None
    if definition.options.prompt is None:
        raise RouteError(f"Route {queue_name!r}: prompt must say what the agent is to do.")
    template = PromptTemplate(definition.options.prompt)
    return definition.options.applied_to(dispatcher.default_route(queue_name, template))


def sign(dispatcher: AgentDispatcher, queue_name: str, definition: RouteDefinition) -> str | None:
    """The signature of a definition with the operators' key; None where the app has no key.

    A definition names a program to start, and Prefect's API may be open to more people than ours.
    """
    key = dispatcher.settings.signing_key
    if key is None:
        return None
    said = [dispatcher.name, queue_name, definition.source, definition.options.said()]
    text = json.dumps(said, sort_keys=True).encode()
    return hmac.new(key, text, sha256).hexdigest()


def check_signature(
    dispatcher: AgentDispatcher, queue_name: str, definition: RouteDefinition
) -> None:
    """Refuse a definition that no operator has made, where tokens are required.

    Raises:
        RouteError: it is not signed with this process's ATHANORE_API_KEY.
    """
    if dispatcher.settings.api_auth != "token":
        return
    expected = sign(dispatcher, queue_name, definition)
    if expected is None or not hmac.compare_digest(expected, definition.signature or ""):
        raise RouteError(
            f"Route {queue_name!r}: its definition in Prefect is not signed with the operators' "
            "key. Give workers and API the same ATHANORE_API_KEY; if it was changed, make the "
            "route again."
        )
