"""The process in which the function of a `PythonAgent` runs."""

from __future__ import annotations

import importlib
import os
import pickle
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import TypeAdapter

from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, AgentOutcome, AgentResult, Task
from athanore.texts import cut

BOOT = """\
import pickle, sys
with open(sys.argv[1], "rb") as file:
    sys.path[:] = pickle.load(file)
    from athanore.agent_adapters.python_child import main
    main(file)
"""
"""What Python is started with; `sys.path` is the worker's."""

_EVENT = TypeAdapter(AgentEvent)
_RESULT = TypeAdapter(AgentResult)


class Function(NamedTuple):
    """Where a function is: in a module, which is a file, under a name."""

    module: str
    file: str
    name: str

    def load(self) -> Callable[[AgentJob], object]:
        """Import it; a script, and a module that is known to its app only, by its file."""
        if self.module != "__main__" and _is_importable(self.module):
            found: Any = importlib.import_module(self.module)
            return reduce(getattr, self.name.split("."), found)
        first, *rest = self.name.split(".")
        found = runpy.run_path(self.file, run_name="__athanore_agent__")[first]
        return reduce(getattr, rest, found)


@dataclass(frozen=True, slots=True)
class Route:
    """What the function may read of the route."""

    name: str
    queue_name: str
    command: str
    args: tuple[str, ...]
    timeout: timedelta | None

    def format_command(self, prompt: str) -> list[str]:
        """Only the command itself is known here."""
        return [self.command, *self.args, prompt]


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt, as it is written down for the process; `mark` begins what it tells us."""

    function: Function
    mark: str
    task: Task
    route: Route
    prompt: str
    attempt: int
    timeout: timedelta | None
    env: Mapping[str, str]
    cwd: Path | None
    command: tuple[str, ...]

    @classmethod
    def of(cls, function: Function, mark: str, job: AgentJob) -> Call:
        """What a process needs to know of a job."""
        r = job.route
        route = Route(r.name, r.queue_name, r.command, tuple(r.args), r.timeout)
        return cls(
            function=function,
            mark=mark,
            task=job.task,
            route=route,
            prompt=job.prompt,
            attempt=job.attempt,
            timeout=job.timeout,
            env=dict(job.env),
            cwd=job.cwd,
            command=job.command,
        )

    def job(self, emit: Callable[[AgentEvent], None]) -> AgentJob:
        """The job for the function."""
        return AgentJob(
            task=self.task,
            route=self.route,
            prompt=self.prompt,
            attempt=self.attempt,
            timeout=self.timeout,
            env=self.env,
            cwd=self.cwd,
            command=self.command,
            emit=emit,
        )


def main(file: IO[bytes]) -> None:
    """Call the function, and tell what it came to."""
    call: Call = pickle.load(file)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")

    def tell(kind: str, message: bytes) -> None:
        sys.stdout.write(f"{call.mark}{kind} {message.decode()}\n")
        sys.stdout.flush()

    def emit(event: AgentEvent) -> None:
        tell("event", _EVENT.dump_json(event, fallback=str))

    job = call.job(emit)
    try:
        function = call.function.load()
        if call.cwd is not None:
            os.chdir(call.cwd)
        result = as_result(function(job), job.say)
    except Exception as exc:
        traceback.print_exc()
        result = failed(exc)
    tell("result", _RESULT.dump_json(result, fallback=str))


def as_result(value: object, say: Callable[[str], None]) -> AgentResult:
    """What a function's value means.

    Raises:
        TypeError: nothing.
    """
    match value:
        case None:
            return AgentResult(AgentOutcome.SUCCEEDED)
        case str():
            say(value)
            return AgentResult(AgentOutcome.SUCCEEDED)
        case AgentResult():
            return value
        case _:
            raise TypeError(
                f"the agent's function returned {cut(repr(value), 200)}; it has to return None, "
                "text, or an AgentResult"
            )


def failed(error: Exception) -> AgentResult:
    """The result of a function that raised."""
    words = cut(" ".join(str(error).split()), 200)
    name = type(error).__name__
    return AgentResult(AgentOutcome.FAILED, f"{name}: {words}" if words else name)


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
