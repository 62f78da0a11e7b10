"""Prompts as templates: what a route that was made over HTTP has instead of a function.

A template is Jinja, sandboxed and strict, and whoever may make routes writes it. So nothing of it
is understood in this process: `prompt_rendering` does that in a process of its own, with limits to
its time and memory. To keep a template costs nothing and cannot fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from athanore.errors import RouteError
from athanore.models import ChecklistItem, Comment, Task
from athanore.processes.family import bare_environment
from athanore.runtime.routes import prompt_rendering

_PATIENCE = 30.0  # seconds, on a busy machine; the processor time is limited in the process
_MANY = 12

_SAMPLE = Task(
    id="1",
    name="A task",
    queue_name="Todo",
    description="What is to be done.",
    labels=("label",) * _MANY,
    assignees=("somebody",) * _MANY,
    comments=(Comment("A comment.", "somebody", datetime(2026, 1, 1, tzinfo=UTC)),) * _MANY,
    tasks=(ChecklistItem("An item", True, "1"),) * _MANY,
    url="https://board.example.com/tasks/1",
    author="somebody",
    priority="High",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 2, tzinfo=UTC),
)


class PromptTemplate:
    """A prompt function made of a template.

    Args:
        source: Jinja, with the variables `task` (a `Task`) and `attempt` (from 1).
    """

    def __init__(self, source: str) -> None:
        self.source = source

    async def __call__(self, task_id: str, task_name: str, task: Task, attempt: int) -> str:
        """Write the prompt of one attempt.

        Raises:
            RouteError: the template cannot be filled for this task.
        """
        return await asyncio.to_thread(_render, self.source, task, [attempt])

    async def check(self) -> None:
        """Fill the template for a task that has everything, at a first and a second attempt.

        Raises:
            RouteError: it is no template, names something that does not exist, or needs too much;
                the message says what.
        """
        await asyncio.to_thread(_render, self.source, _SAMPLE, [1, 2])


def _render(source: str, task: Task, attempts: list[int]) -> str:
    request = {"path": sys.path, "source": source, "task": asdict(task), "attempts": attempts}
    try:
        done = subprocess.run(
            # By path and isolated: it needs Jinja and nothing else, least of all our environment.
            [sys.executable, "-I", os.path.abspath(prompt_rendering.__file__)],
            input=json.dumps(request, default=_plain),
            capture_output=True,
            encoding="utf-8",
            env=bare_environment(),
            cwd="/",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RouteError(f"prompt: it took longer than {_PATIENCE:g} s.") from None
    except OSError as exc:
        raise RouteError(f"prompt: the process that writes it cannot be started: {exc}.") from exc
    if done.returncode == -signal.SIGXCPU:
        raise RouteError(f"prompt: it took longer than {prompt_rendering.SECONDS} s of work.")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RouteError(f"prompt: the process that writes it ended: {last}.") from None
    if "error" in answer:
        raise RouteError(f"prompt: {answer['error']}")
    return str(answer["prompt"])


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    raise TypeError(f"{type(value).__name__} is no part of a task")
