"""What an agent hands in, as its route's `output` says, and which queue comes of it (`then`)."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from athanore.errors import ResultRefusedError, RouteError, reason
from athanore.models import Task

type Output = type[BaseModel]
type ThenFunction = Callable[[Task, Any], str | Awaitable[str | None] | None]

LONGEST = 20_000
"""Characters of JSON that a result may have."""

_SHOWN = 10  # fields that are wrong


def is_output(value: object) -> bool:
    """Tell whether something is a model of what an agent may hand in."""
    return isinstance(value, type) and issubclass(value, BaseModel)


def check_output(route: str, output: Output) -> None:
    """Refuse a model that an agent cannot be told of.

    Raises:
        RouteError: it has no JSON schema.
    """
    try:
        output.model_json_schema()
    except Exception as exc:
        raise RouteError(
            f"Route {route!r}: output={output.__name__} has no JSON schema, so no agent can be "
            f"told what to hand in: {reason(exc)}."
        ) from exc


def read(output: Output, text: str) -> BaseModel:
    """Understand a result that is written as JSON.

    Raises:
        ResultRefusedError: it does not fit the model; the error names the fields.
    """
    try:
        return output.model_validate_json(text)
    except ValidationError as exc:
        found = exc.errors(include_url=False)
        wrong = [(_field(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in found[:_SHOWN]]
    except Exception as exc:  # of a validator of the user's
        wrong = [("result", f"a validator of {output.__name__} failed: {reason(exc)}")]
    raise ResultRefusedError(output.__name__, wrong)


def written(data: Mapping[str, Any]) -> str:
    """A result as JSON, to be kept.

    Raises:
        ResultRefusedError: it is too long, or nested without end.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as exc:
        raise ResultRefusedError("JSON", [("result", reason(exc))]) from exc
    if len(text) > LONGEST:
        wrong = f"it has {len(text)} characters as JSON, and may have {LONGEST}"
        raise ResultRefusedError("a result", [("result", wrong)])
    return text


def _field(place: tuple[int | str, ...]) -> str:
    return ".".join(("result", *(str(part) for part in place)))


def instructions(output: Output, api_url: str, task_id: str) -> str:
    """What an agent is told of how it hands in its result."""
    schema = json.dumps(output.model_json_schema(), ensure_ascii=False)
    address = f"{api_url}/tasks/{quote(task_id, safe='')}/result"
    return f"""When you are done, hand in your result, and end only after that. Use the tool \
submit_result if you have it; else send the result as JSON:

    curl -sS --retry 6 -H "Authorization: Bearer $ATHANORE_TOKEN" -H \
"Content-Type: application/json" '{address}' -d '{{"result": {{...}}}}'

The result is a JSON object that fits this schema:

    {schema}

If it is refused, the answer says what is wrong: correct that and hand it in again. The last one \
that was taken counts. Without a result your work has failed."""


def check_then(route: str, function: ThenFunction) -> None:
    """Refuse a function that cannot be called with a task and a result.

    Raises:
        RouteError: it takes less, or more.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise RouteError(
            f"Route {route!r}: {name}{signature} must take (task, result), because it is called "
            "with them when the agent has succeeded."
        ) from None


async def call_then(function: ThenFunction, task: Task, result: BaseModel) -> str | None:
    """Ask a function where a task goes; a plain one is called in a thread.

    Raises:
        Exception: whatever the function raises; TypeError if it returns no name of a queue.
    """
    answer: object
    if inspect.iscoroutinefunction(function):
        answer = await function(task, result)
    else:
        answer = await asyncio.to_thread(function, task, result)
        if inspect.isawaitable(answer):  # an object whose __call__ is async
            answer = await answer
    if answer is not None and not (isinstance(answer, str) and answer.strip()):
        raise TypeError(f"it must return the name of a queue, or None, not {answer!r}")
    return answer
