"""`CliAgentAdapter`: a known command line agent, whose JSON stream is read."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.cli import claude, codex, gemini, opencode, qwen
from athanore.agent_adapters.cli.noting import with_noted
from athanore.agent_adapters.cli.preset import Options, Preset
from athanore.agent_adapters.cli.reader import StreamReader
from athanore.agent_adapters.common.by_task import Model, ModelByTask
from athanore.agent_adapters.common.resuming import fitting, keeping, tell_afresh, version_of
from athanore.agent_adapters.given.mcp_servers import (
    BoardAccess,
    Handed,
    Servers,
    board_server,
    checked,
    lesson,
    written,
)
from athanore.agent_adapters.given.sessions import Place, Session, home_of
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.errors import ConfigurationError
from athanore.models import AgentResult
from athanore.processes.supervisor import STOP_GRACE

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {m.PRESET.name: m.PRESET for m in (codex, claude, opencode, gemini, qwen)}
)


class CliAgentAdapter(ModelByTask):
    """Runs a command line agent that Athanore knows, and reads its JSON stream.

    Tool use, words and cost become events; a failure has the agent's own reason, and a usage limit
    of its provider is none. For a program that is only started, `command="codex"` is enough.

    Args:
        preset: which one.
        model: as the program names it, or a function that is given the task and returns that; None
            for its default.
        mode: what the agent may do, in the program's words: the sandbox of `codex`
            (`"workspace-write"` by default), the permission mode of `claude` (`"acceptEdits"`), the
            approval mode of `gemini` and `qwen` (`"yolo"`), the agent of `opencode` (its own).
        resume_on_retry: a retry goes on with the session of the attempt before, where host, HOME,
            folder and the program's version are the same; else, and when the program does not know
            it, it starts afresh.
        program: the program, if it is not on the agent's PATH under the preset's name.
        extra_args: further arguments, before the prompt.
        board_access: how the agent reaches its task: by the tools of `"mcp"`, of which it is told
            after the prompt, or with `"curl"`, of which the prompt has to tell it. None: by MCP
            where the extra `mcp` is installed. With MCP it has no server of the user's own
            configuration.
        mcp_servers: further servers of MCP for the agent, by their names.

    Raises:
        ConfigurationError: there is no such preset, or a value will not do.
    """

    stop_grace = STOP_GRACE + timedelta(seconds=2)
    """How long an agent that is stopped may live: it is interrupted first, if that helps."""

    def __init__(
        self,
        preset: Literal["codex", "claude", "opencode", "gemini", "qwen"],
        *,
        model: Model = None,
        mode: str | None = None,
        resume_on_retry: bool = False,
        program: str | Path | None = None,
        extra_args: Sequence[str] = (),
        board_access: BoardAccess | None = None,
        mcp_servers: Servers | None = None,
    ) -> None:
        if preset not in PRESETS:
            known = ", ".join(map(repr, PRESETS))
            raise ConfigurationError(f"There is no preset {preset!r}; there are {known}.")
        if isinstance(extra_args, str):
            raise ConfigurationError(f"extra_args={extra_args!r} must be a list: [{extra_args!r}].")
        # Under their own names, so that they count for the app's version.
        self._preset = preset
        self._model = model
        self._mode = mode
        self._resume_on_retry = resume_on_retry
        self._program = None if program is None else str(program)
        self._extra_args = tuple(extra_args)
        self._board_access: BoardAccess | None = board_access
        self._mcp_servers = checked(board_access, mcp_servers)

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        if self.depends_on_task:
            return await self.for_task(job.task).run(job)
        preset = PRESETS[self._preset]
        env = await asyncio.to_thread(preset.prepare, {**preset.env, **job.env})
        job = replace(job, env=env)
        place = await self._place(preset, job) if self._resume_on_retry else None
        session = fitting(job, place) if place else None
        result, reader = await self._attempt(preset, job, place, session)
        if session and not reader.started and (result.exit_code or 0) > 0:
            tell_afresh(job, session, "the program does not know it")
            result, reader = await self._attempt(preset, job, place, None)
        if preset.noted and reader.session:
            known = await asyncio.to_thread(preset.noted, job.env, reader.session)
            return with_noted(job, result, known)
        return result

    async def _place(self, preset: Preset, job: AgentJob) -> Place:
        program = [self._program or preset.name]
        version = await version_of(program, job.env, job.cwd)
        return Place.here(home_of(job.env, *preset.homes), job.cwd, version)

    async def _attempt(
        self, preset: Preset, job: AgentJob, place: Place | None, session: Session | None
    ) -> tuple[AgentResult, StreamReader]:
        mode, limited = self._mode or preset.mode, bool(job.budget)
        options = Options(self._named_model, mode, self._extra_args, limited)
        servers = {**board_server(self._board_access, job.env), **self._mcp_servers}
        handed = Handed()
        if servers:
            folder = (job.cwd or Path()).absolute()
            handed = await asyncio.to_thread(preset.hand, servers, job.env, folder)
        allowed: Sequence[str] = ()
        if preset.allow is not None:
            allowed = await asyncio.to_thread(preset.allow, mode, job.env)
        options = replace(options, extra_args=(*handed.args, *allowed, *options.extra_args))
        words = preset.words(options, session.id if session else None)
        before: Mapping[str, float] = session.used if session else {}
        reader = preset.reader(before)
        program = _Program([self._program or preset.name, *words], reader, preset.interrupts)
        prompt = "\n\n".join(filter(None, (job.prompt, lesson(servers))))
        emit = job.emit
        if place is not None:
            emit = keeping(job, place, lambda: (reader.session, reader.totals or before))
        with written(handed, job.env) as env:
            job = replace(job, prompt=prompt, env={**job.env, **env}, emit=emit)
            return await program.run(job), reader

    def account(self, env: Mapping[str, str]) -> str:
        """Whose usage limits count for the agent; see `SupportsAccount`."""
        return PRESETS[self._preset].account(env)

    @property
    def meter(self) -> Meter:
        """What is known of its costs; see `SupportsMeter`."""
        preset = PRESETS[self._preset]
        return Meter(preset.name, cost=preset.cost, tokens=True, model=self._named_model)

    def check(self, env: Mapping[str, str], cwd: Path | None) -> str | None:
        """Look for the program; see `SupportsCheck`."""
        program = self._program or PRESETS[self._preset].name
        there = (cwd or Path()).joinpath(program).is_file() if "/" in program else False
        if there or shutil.which(program, path=env.get("PATH", "")):
            return None
        return f"command not found: {program!r}; install it, or pass program="


class _Program(SubprocessAgentAdapter):
    """One attempt: the command line without its prompt, and the reader of what comes."""

    def __init__(self, words: list[str], reader: StreamReader, interrupts: bool) -> None:
        self.interrupts = interrupts
        self._words = words
        self._reader = reader

    def build_command(self, job: AgentJob) -> list[str]:
        return [*self._words, job.prompt]

    def open_reader(self, job: AgentJob) -> StreamReader:
        return self._reader
