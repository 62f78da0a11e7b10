"""Agents, and their models, that are functions of the task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Final, Protocol, Self, TypeIs, runtime_checkable

from athanore.agent_adapters.base import AgentAdapter
from athanore.models import Task

type AgentFunction = Callable[[Task], AgentAdapter]
"""Says which adapter works on a task."""

AN_AGENT: Final = "an agent adapter, or a function of a task that returns one"
"""What the agent of a route has to be, for people."""

type Model = str | Callable[[Task], str | None] | None
"""A model by its name, or a function that says which one works on a task; None: the default."""


@runtime_checkable
class SupportsTask(Protocol):
    """An adapter that may be another one for each task."""

    def for_task(self, task: Task) -> AgentAdapter:
        """The adapter for a task; itself, if that depends on no task.

        It is called in a thread, and may raise what functions of the user's raise.
        """
        ...

    @property
    def depends_on_task(self) -> bool:
        """Whether it is another one for each task."""
        ...


def is_adapter(value: object) -> TypeIs[AgentAdapter]:
    """Tell whether a value can run agents."""
    return not inspect.isclass(value) and callable(getattr(value, "run", None))


def is_agent_function(value: object) -> TypeIs[AgentFunction]:
    """Tell whether a value is a function that says which adapter works on a task."""
    return not inspect.isclass(value) and callable(value) and not is_adapter(value)


def is_agent(value: object) -> bool:
    """Tell whether a value can be the agent of a route."""
    return is_adapter(value) or is_agent_function(value)


def depends_on_task(agent: AgentAdapter | AgentFunction | None) -> bool:
    """Tell whether it is known only of a task which agent works on it, or with which model."""
    if agent is None or is_agent_function(agent):
        return agent is not None
    return isinstance(agent, SupportsTask) and agent.depends_on_task


def adapter_for(agent: AgentAdapter | AgentFunction, task: Task) -> AgentAdapter:
    """The adapter that works on a task.

    Raises:
        TypeError: the function returned something else.
        Exception: what a function of the user's raised.
    """
    found: object = agent(task) if is_agent_function(agent) else agent
    if not is_adapter(found):
        hint = "a class; call it" if inspect.isclass(found) else "no agent adapter"
        raise TypeError(f"{name_of(agent)} returned {found!r}, which is {hint}")
    return found.for_task(task) if isinstance(found, SupportsTask) else found


def model_for(model: Model, task: Task) -> str | None:
    """The model that works on a task.

    Raises:
        TypeError: the function returned something else.
        Exception: what the function raised.
    """
    if not callable(model):
        return model
    return _named(model(task), model)


class ModelByTask:
    """What an adapter needs whose model may be a function of the task; see `SupportsTask`."""

    _model: Model

    @property
    def depends_on_task(self) -> bool:
        """Whether its model is a function of the task."""
        return callable(self._model)

    def for_task(self, task: Task) -> Self:
        """The adapter with the model for a task."""
        found = copy(self)
        found._model = model_for(self._model, task)
        return found

    @property
    def _named_model(self) -> str | None:
        return None if callable(self._model) else self._model


def _named(said: object, function: object) -> str | None:
    if said is None or (isinstance(said, str) and said.strip()):
        return said
    raise TypeError(f"{name_of(function)} returned {said!r}, which is the name of no model")


def name_of(function: object) -> str:
    """What a function is called, for people."""
    name = getattr(function, "__name__", type(function).__name__)
    return "the lambda" if name == "<lambda>" else f"{name}()"
