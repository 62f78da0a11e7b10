"""What a test of the Claude adapter needs: the real CLI, a folder of its own, a scripted model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil

from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, EventKind, Task
from athanore.routing.routes import Route
from tests.claude.endpoint import Script, ScriptedModel, scripted_model

PATIENCE = 120.0
"""Seconds after which a condition that a test waits for counts as missed."""


def bundled_cli() -> str | None:
    """The CLI in the wheel of claude-agent-sdk; None when it is not installed."""
    spec = find_spec("claude_agent_sdk")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        cli = Path(folder) / "_bundled" / "claude"
        if cli.is_file():
            return str(cli)
    return None


def _prompt(task_id: str, task_name: str) -> str:
    return f"Work on {task_id}: {task_name}"


@dataclass(slots=True)
class ClaudeRig:
    """A home, a working folder and a model; `events` are all that the runs emitted."""

    root: Path
    model: ScriptedModel
    events: list[AgentEvent] = field(default_factory=list[AgentEvent])

    @property
    def work(self) -> Path:
        return self.root / "work"

    def env(self) -> dict[str, str]:
        """The agent's whole environment: nothing of the developer's is in it, but PATH."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "CLAUDE_CONFIG_DIR": str(self.root / "config"),
            "TMPDIR": str(self.root / "tmp"),
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": "made-up",
            "ANTHROPIC_AUTH_TOKEN": "",
            "IS_SANDBOX": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def job(
        self,
        prompt: str = "Do it.",
        *,
        env: Mapping[str, str] | None = None,
        attempt: int = 1,
        timeout: float | None = None,
        stall_timeout: float | None = None,
        task_id: str = "7",
    ) -> AgentJob:
        """One attempt in the working folder; times in seconds."""
        route = Route(
            queue_name="Todo",
            prompt=_prompt,
            stall_timeout=None if stall_timeout is None else timedelta(seconds=stall_timeout),
        )
        return AgentJob(
            task=Task(id=task_id, name="Write it", queue_name="Todo"),
            route=route,
            prompt=prompt,
            attempt=attempt,
            timeout=None if timeout is None else timedelta(seconds=timeout),
            env=self.env() | dict(env or {}),
            cwd=self.work,
            emit=self.events.append,
        )

    def said(self, kind: EventKind) -> list[dict[str, object]]:
        """The data of all events of a kind."""
        return [dict(event.data) for event in self.events if event.kind is kind]

    def processes(self) -> list[psutil.Process]:
        """All living processes that a run started: their HOME is this rig's."""
        home = str(self.root / "home")
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and (
                    process.environ().get("HOME") == home
                ):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def called(self, name: str) -> int:
        """How many living processes of a program there are; one may end while they are counted."""
        found = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += process.name() == name
        return found

    def cli(self) -> psutil.Process:
        """The running CLI: the one whose parent is this process."""
        children = psutil.Process().children()
        return next(p for p in self.processes() if p in children)


@contextmanager
def claude_rig(script: Script) -> Generator[ClaudeRig]:
    """A rig for the length of a `with` block; the CLI makes sockets in it, so its path is short."""
    root = Path(tempfile.mkdtemp(prefix="ath-"))
    try:
        for folder in ("home", "config", "tmp", "work"):
            (root / folder).mkdir()
        with scripted_model(script) as model:
            yield ClaudeRig(root, model)
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a named condition holds.

    Raises:
        AssertionError: it did not within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        await asyncio.sleep(0.05)
