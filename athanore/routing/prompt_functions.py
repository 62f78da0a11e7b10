"""The function that a route decorates: what it may take, and how it is called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from athanore.errors import RouteError

type PromptFunction = Callable[..., str | Awaitable[str]]

MAY_TAKE = ("task", "attempt", "workspace")
"""What a prompt function may take beside the task's id and name, each by its name."""


def check_prompt_function(route: str, function: PromptFunction) -> None:
    """Refuse a prompt function whose signature cannot be called with (task_id, task_name).

    Raises:
        RouteError: it takes fewer than two arguments, or requires ones that nobody fills.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return
    name = getattr(function, "__name__", repr(function))
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [
        p.name
        for p in parameters[2:]
        if p.name not in MAY_TAKE and p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    if len(positional) < 2 or unknown:
        raise RouteError(
            f"Route {route!r}: {name}{inspect.signature(function)} must take "
            f"(task_id, task_name), and may take {', '.join(MAY_TAKE[:-1])} and {MAY_TAKE[-1]} "
            "beside them."
        )


async def call_prompt_function(
    route: str, function: PromptFunction, task_id: str, task_name: str, extras: Mapping[str, object]
) -> str:
    """Call a prompt function with what its signature asks for.

    A plain function is called in a thread, so that it never stalls the worker.

    Args:
        extras: what there is of `MAY_TAKE`, by name.

    Raises:
        Exception: whatever the function raises; TypeError if it returns no string.
    """
    asked = [p.name for p in list(inspect.signature(function).parameters.values())[2:]]
    kwargs = {name: value for name, value in extras.items() if name in asked}
    prompt: object
    if inspect.iscoroutinefunction(function):
        prompt = await function(task_id, task_name, **kwargs)
    else:
        prompt = await asyncio.to_thread(function, task_id, task_name, **kwargs)
        if inspect.isawaitable(prompt):  # an object whose __call__ is async
            prompt = await prompt
    if not isinstance(prompt, str):
        raise TypeError(
            f"the prompt function of route {route!r} must return a string, "
            f"not {type(prompt).__name__}"
        )
    return prompt
