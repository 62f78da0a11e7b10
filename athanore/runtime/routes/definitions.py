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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)

from athanore.dispatcher import AgentDispatcher
from athanore.errors import RouteError
from athanore.routing import route_options
from athanore.routing.options import description_over_http, options_of
from athanore.routing.route_options import OPTIONS, QUEUE_OPTIONS
from athanore.routing.routes import Route
from athanore.runtime.routes.prompt_template import PromptTemplate

type Prompt = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=50_000, pattern=r"^[^\x00]*[^\s\x00-\x1f\x85][^\x00]*$"
    ),
]


PROMPT: Any = {
    "description": "A Jinja template, strict and sandboxed, with `task` (`id`, `name`, "
    "`description`, `queue_name`, `labels`, `assignees`, `comments`, `tasks`, `url`) and "
    "`attempt` (from 1). It is filled once for a sample task; one that names what does not exist, "
    "or needs too much time or memory, is refused.",
    "examples": ["Work on task {{ task.id }}: {{ task.name }}.\n{{ task.description }}"],
}


class SentOptions(BaseModel):
    """The options of a route over HTTP; durations are seconds.

    Those that are not sent, and those that are null, are what the dispatcher says (or, of a route
    in the code, what the code says). An explicit `timeout: null` means no limit.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Prompt | None = Field(default=None, **PROMPT)

    def said(self) -> dict[str, Any]:
        """The options that were sent, as JSON holds them."""
        return self.model_dump(mode="json", exclude_unset=True)

    def merged(self, changes: SentOptions) -> RouteOptions:
        """These options after a change; null takes back what was said before."""
        options = {**self.said(), **changes.said()}
        kept = {k: v for k, v in options.items() if v is not None or _null_counts(k)}
        return RouteOptions.model_validate(kept)

    def applied_to(self, route: Route) -> Route:
        """A route with these options in place of its own.

        Raises:
            RouteError: an option is wrong; the message names it.
        """
        changes: dict[str, Any] = {}
        for name, value in self.said().items():
            if value is None and not _null_counts(name):
                continue
            is_prompt = name not in OPTIONS
            changes[name] = PromptTemplate(str(value)) if is_prompt else _meant(name, value)
        if changes.get("cwd") is not None:
            changes["workspace"] = None  # which was said elsewhere
        return replace(route, **changes)


def _meant(name: str, value: Any) -> Any:
    """The value of an option that was sent; false may stand for one that JSON has not."""
    no = OPTIONS[name].no
    return no if value is False and no is not None else value


def _null_counts(name: str) -> bool:
    return name in OPTIONS and OPTIONS[name].null_counts


def sent_options(schema: type, base: type[BaseModel] = SentOptions) -> type[Any]:
    """The model of a class of options in requests: each may be left out, or be null."""
    sent: dict[str, Any] = {}
    for name, option in options_of(schema).items():
        kind: Any = option.kind.sent
        if kind is not None:
            kind = kind | Literal[False] | None if option.no is not None else kind | None
            description = description_over_http(schema, name)
            sent[name] = (kind, Field(default=None, description=description))
    return create_model("RouteOptions", __base__=base, __doc__=base.__doc__, **sent)


if TYPE_CHECKING:
    RouteOptions = SentOptions
else:
    RouteOptions = sent_options(route_options.RouteOptions)


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


def read_definition(name: str, parameter: Mapping[str, Any]) -> RouteDefinition:
    """Understand what a deployment holds.

    Raises:
        RouteError: it is no definition.
    """
    try:
        return RouteDefinition.model_validate(parameter)
    except ValidationError as exc:
        what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise RouteError(f"Route {name!r}: its definition in Prefect is broken: {what}.") from (exc)


def define(
    dispatcher: AgentDispatcher, name: str, queue_name: str, definition: RouteDefinition
) -> Route | None:
    """Make the route that a definition describes; None for changes of a route that is no more.

    Raises:
        RouteError: an option is wrong, the route has nothing to say or to start, or a budget that
            cannot bind its agent.
    """
    route = _defined(dispatcher, name, queue_name, definition)
    if route is not None:
        dispatcher.check_budgets(route)
    return route


def define_anew(
    dispatcher: AgentDispatcher, name: str, queue_name: str, definition: RouteDefinition
) -> Route | None:
    """Make the route that a request describes; see `define`.

    Raises:
        RouteError: as `define`, or an option lacks another one that it needs. Of a definition that
            is kept that is only told: an earlier version took it.
    """
    route = define(dispatcher, name, queue_name, definition)
    if route is not None:
        route.check_together()
    return route


def _defined(
    dispatcher: AgentDispatcher, name: str, queue_name: str, definition: RouteDefinition
) -> Route | None:
    in_code = dispatcher.routes.get(name)
    if in_code is not None:
        return definition.options.applied_to(in_code)
    if definition.source == "code":
        return None
    if definition.options.prompt is None:
        raise RouteError(f"Route {name!r}: prompt must say what the agent is to do.")
    template = PromptTemplate(definition.options.prompt)
    said = definition.options.said()
    # Without the one that needs publish=, which comes with the rest.
    first = [n for n in QUEUE_OPTIONS if n != "merged_queue" and said.get(n) is not None]
    queues = {n: _meant(n, said[n]) for n in first}
    route = replace(dispatcher.default_route(queue_name, template, **queues), name=name)
    return definition.options.applied_to(route)


def sign(
    dispatcher: AgentDispatcher, name: str, queue_name: str, definition: RouteDefinition
) -> str | None:
    """The signature of a definition with the operators' key; None where the app has no key.

    A definition names a program to start, and Prefect's API may be open to more people than ours.
    """
    key = dispatcher.settings.signing_key
    if key is None:
        return None
    said = [dispatcher.name, name, queue_name, definition.source, definition.options.said()]
    text = json.dumps(said, sort_keys=True).encode()
    return hmac.new(key, text, sha256).hexdigest()


def check_signature(
    dispatcher: AgentDispatcher, name: str, queue_name: str, definition: RouteDefinition
) -> None:
    """Refuse a definition that no operator has made, where tokens are required.

    Raises:
        RouteError: it is not signed with this process's ATHANORE_API_KEY.
    """
    if dispatcher.settings.api_auth != "token":
        return
    expected = sign(dispatcher, name, queue_name, definition)
    if expected is None or not hmac.compare_digest(expected, definition.signature or ""):
        raise RouteError(
            f"Route {name!r}: its definition in Prefect is not signed with the operators' "
            "key. Give workers and API the same ATHANORE_API_KEY; if it was changed, make the "
            "route again."
        )
