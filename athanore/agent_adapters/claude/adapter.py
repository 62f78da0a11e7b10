"""`ClaudeAgentAdapter`: runs Claude Code as the agent, through claude-agent-sdk or its predecessor.

Needs the extra `claude`: `pip install "./athanore[claude]"` beside a clone of Athanore.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.claude.mcp import allowed_mcp, strict_mcp
from athanore.agent_adapters.claude.messages import Stopped, Transcript
from athanore.agent_adapters.claude.process import ClaudeProcess
from athanore.agent_adapters.claude.prompt import task_api_lesson, token_header
from athanore.agent_adapters.claude.sdk import ASKS, May, converse, find_cli, installed_sdk
from athanore.agent_adapters.common.accounts import claude_account
from athanore.agent_adapters.common.by_task import Model, ModelByTask
from athanore.agent_adapters.common.permissions import people_may
from athanore.agent_adapters.common.resuming import fitting, keeping, tell_afresh, version_of
from athanore.agent_adapters.given.mcp_servers import (
    BOARD,
    BoardAccess,
    Servers,
    board_server,
    checked,
    lesson,
)
from athanore.agent_adapters.given.sessions import Place, Session, home_of
from athanore.agent_adapters.given.waits import TimeLimit
from athanore.budgets import Budget
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind
from athanore.processes.supervisor import STOP_GRACE, supervise
from athanore.seen_through import seen_through

type Permissions = Literal["deny", "ask"]
"""What becomes of tools that the CLI's mode does not allow by itself."""

_FAREWELL = 5.0  # seconds in which the CLI saves its session after its last word
_INTERRUPT = timedelta(seconds=2)  # in which an interrupted CLI says what it has spent
_LOOK = 0.5  # seconds between looks at a CLI that may have finished, and stays
_STREAM = ("--output-format=stream-json", "--input-format=stream-json", "--verbose")
_OWN_FLAGS = frozenset(
    {"output-format", "input-format", "verbose", "print", "resume", "append-system-prompt", *ASKS}
)
_INSTALL_THE_CLI = (
    "Install claude-agent-sdk, which brings the CLI, or put the `claude` program on the agent's "
    "PATH (npm install -g @anthropic-ai/claude-code), or pass cli_path=."
)

installed_sdk()  # so that the import already says what to install


class ClaudeAgentAdapter(ModelByTask):
    """Runs Claude Code on the prompt, with the `.claude/` configuration of its folder and user.

    The agent is taught how to read, comment on and move its task: by tools of MCP, which need no
    permission, where the extra `mcp` is installed. With `board_access="curl"` it calls the task API
    with curl, so Bash must be allowed: by `permission_mode="bypassPermissions"`, by
    `allowed_tools=["Bash(curl:*)"]`, or in `.claude/settings.json`. Its token is then in a file
    that only this user may read and that is removed after the attempt; the calls name it
    (`-H @file`), because a command with a variable in it would be refused.

    Failures that another attempt cannot mend are not retried: no CLI, a CLI that does not start, a
    missing subagent, a tool that was refused and never used with success after it, a reached
    budget, and API errors that blame the request (400, 401, 403, 404).

    Args:
        subagent: run as this agent of `.claude/agents/` (or a built-in one).
        model: model or alias (`"sonnet"`), or a function that is given the task and returns one.
        permission_mode: `"acceptEdits"`, `"bypassPermissions"`, `"dontAsk"`, `"plan"`, ...
        permissions: what the mode does not allow is refused (`"deny"`), or people are asked
            (`"ask"`, with claude-agent-sdk), and the agent waits for what they say.
        max_turns: most turns of one attempt.
        max_budget_usd: most dollars of one attempt, as the CLI counts them.
        cwd: folder to work in, where the route says none and has no workspace.
        resume_on_retry: a retry goes on with the session of the last attempt, where host, HOME,
            folder and the CLI's version are the same; else, and when it is gone, it starts afresh.
        allowed_tools: tools and rules that need no permission (`"Bash(curl:*)"`).
        disallowed_tools: tools and rules that are refused.
        append_system_prompt: more text for the system prompt.
        cli_path: the `claude` program; None for the SDK's own, or the one on the agent's PATH.
        extra_args: further options of the CLI, without dashes; None for one without a value.
        board_access: `"mcp"` or `"curl"`; None for MCP where the extra is installed. With MCP the
            agent has no server of MCP of the user's own configuration.
        mcp_servers: further servers of MCP for the agent, by their names; their tools are allowed.

    Raises:
        ImportError: neither SDK is installed.
        ConfigurationError: a value is out of its range.
    """

    linger: ClassVar[timedelta] = timedelta(seconds=10)
    """How long the CLI may stay after its last result; then it is stopped, and the result counts.

    It stays for longer while a command or a subagent of its own works in the background.
    """

    stop_grace: ClassVar[timedelta] = _INTERRUPT + STOP_GRACE
    """How long a CLI that is stopped may live: it is interrupted, then told to end, then killed."""

    def __init__(
        self,
        subagent: str | None = None,
        model: Model = None,
        permission_mode: str | None = None,
        max_turns: int | None = None,
        max_budget_usd: float | None = None,
        cwd: str | Path | None = None,
        *,
        resume_on_retry: bool = False,
        allowed_tools: Sequence[str] = (),
        disallowed_tools: Sequence[str] = (),
        append_system_prompt: str = "",
        cli_path: str | Path | None = None,
        extra_args: Mapping[str, str | None] | None = None,
        board_access: BoardAccess | None = None,
        mcp_servers: Servers | None = None,
        permissions: Permissions = "deny",
    ) -> None:
        self._sdk = installed_sdk()
        _check_limits(max_turns, max_budget_usd)
        _check_permissions(permissions, self._sdk)
        if owned := sorted(_OWN_FLAGS & set(extra_args or ())):
            raise ConfigurationError(f"extra_args: the adapter sets {', '.join(owned)} itself.")
        # Under their own names, so that they count for the app's version.
        self._subagent = subagent
        self._model = model
        self._permission_mode = permission_mode
        self._max_turns = max_turns
        self._max_budget_usd = max_budget_usd
        self._cwd = None if cwd is None else Path(cwd)
        self._resume_on_retry = resume_on_retry
        self._allowed_tools = _words("allowed_tools", allowed_tools)
        self._disallowed_tools = _words("disallowed_tools", disallowed_tools)
        self._append_system_prompt = append_system_prompt
        self._cli_path = None if cli_path is None else str(cli_path)
        self._extra_args = dict(extra_args or {})
        self._board_access: BoardAccess | None = board_access
        self._mcp_servers = checked(board_access, mcp_servers)
        self._permissions: Permissions = permissions

    def _flags(self, servers: Servers) -> list[str]:
        tools = (*allowed_mcp(servers), *filter(None, [self._allowed_tools]))
        flags = _flags(
            {
                "agent": self._subagent,
                "model": self._named_model,
                "permission-mode": self._permission_mode,
                "max-turns": self._max_turns,
                "allowedTools": ",".join(tools) or None,
                "disallowedTools": self._disallowed_tools,
                **(ASKS if self._permissions == "ask" else {}),
            }
        )
        extra = self._extra_args.items()
        flags += [f"--{f}" if value is None else f"--{f}={value}" for f, value in extra]
        return flags + (strict_mcp(servers) if servers else [])

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; the port's docstring says what that means."""
        if self.depends_on_task:
            return await self.for_task(job.task).run(job)
        limit = job.time_limit()
        cwd = job.cwd or self._cwd
        if wrong := _wrong_folder(cwd):
            return _set_up_failure(wrong)
        cli = self._cli_path or await asyncio.to_thread(find_cli, self._sdk, job.env)
        if cli is None:
            return _set_up_failure("the Claude CLI was not found", _INSTALL_THE_CLI)
        place, session = None, None
        if self._resume_on_retry:
            version = await version_of([cli], job.env, cwd)
            place = Place.here(home_of(job.env, "CLAUDE_CONFIG_DIR"), cwd, version)
            session = fitting(job, place)
        transcript = _transcript(job, place)
        result = await self._attempt(job, transcript, limit, cli, cwd, session)
        if session and not transcript.started and (result.exit_code or 0) > 0:
            tell_afresh(job, session, "the CLI does not know it")
            transcript = _transcript(job, place)
            result = await self._attempt(job, transcript, limit, cli, cwd, None)
        return result

    async def _attempt(
        self,
        job: AgentJob,
        transcript: Transcript,
        limit: TimeLimit,
        cli: str,
        cwd: Path | None,
        session: Session | None,
    ) -> AgentResult:
        process = ClaudeProcess(transcript)
        budget = job.budget.within(Budget(self._max_budget_usd))
        try:
            servers = {**board_server(self._board_access, job.env), **self._mcp_servers}
            flags = [*_STREAM, *self._flags(servers), *_budget_flags(budget)]
            with token_header({} if BOARD in servers else job.env) as header:
                taught = lesson(servers) or task_api_lesson(job.env, header)
                command = [cli, *flags, *self._moving_flags(taught, session)]
                stopped = await self._follow(job, process, transcript, limit, command, cwd)
        except FileNotFoundError:
            return _set_up_failure(f"there is no Claude CLI at {cli!r}", _INSTALL_THE_CLI)
        except OSError as exc:
            return _set_up_failure(f"the Claude CLI cannot be started: {exc}")
        finally:
            await seen_through(asyncio.ensure_future(process.close_down()))
        return transcript.verdict(process.exit_code, stopped)

    def account(self, env: Mapping[str, str]) -> str:
        """Whose usage limits count for the agent; see `SupportsAccount`."""
        return claude_account(env)

    @property
    def meter(self) -> Meter:
        """What is known of its costs; see `SupportsMeter`."""
        return Meter("claude", cost=True, tokens=True, model=self._named_model)

    def check(self, env: Mapping[str, str], cwd: Path | None) -> str | None:
        """Look for the folder and for the CLI; see `SupportsCheck`."""
        cli = self._cli_path or find_cli(self._sdk, env)
        if cli is None or not Path(cli).is_file():
            return f"the Claude CLI was not found; {_INSTALL_THE_CLI}"
        return _wrong_folder(cwd or self._cwd)

    async def _follow(
        self,
        job: AgentJob,
        process: ClaudeProcess,
        transcript: Transcript,
        limit: TimeLimit,
        command: list[str],
        cwd: Path | None,
    ) -> Stopped | None:
        """Run the CLI to its end, or say why it was stopped; nothing of it lives afterwards."""
        async with supervise() as agent:
            pid = await process.start(agent, command, _environment(job.env, cwd), cwd)
            started = {"pid": pid, "command": shlex.join(_shown(command))}
            job.emit(AgentEvent(EventKind.STARTED, started))
            talk = process.spawn(
                converse(self._sdk, process, transcript, job.prompt, self._subagent, self._may(job))
            )
            talk.add_done_callback(lambda _: process.silent.set())
            try:
                stopped = await self._watch(process, transcript, limit)
            except asyncio.CancelledError:
                await _interrupt(process, transcript)
                raise
            if stopped is Stopped.TIMED_OUT:
                await _interrupt(process, transcript)
            if stopped is None and process.exit_code is None:
                stopped = Stopped.BROKE_OFF
                if talk.done() and (error := talk.exception()):
                    transcript.take_stderr(f"{type(error).__name__}: {error}")
            return stopped

    def _may(self, job: AgentJob) -> May | None:
        """Asks people about a tool, if they are to be asked; without any, it may not be used."""
        if self._permissions != "ask":
            return None

        async def may(name: str, given: Mapping[str, Any]) -> bool:
            return job.ask is not None and await people_may(job.ask, name, given)

        return may

    async def _watch(
        self, process: ClaudeProcess, transcript: Transcript, limit: TimeLimit
    ) -> Stopped | None:
        """Wait for the end of the CLI, or say why to stop it."""
        ends = {process.spawn(process.wait()), process.spawn(process.silent.wait())}
        done: Collection[object] = ()
        while not done and process.exit_code is None:
            left = limit.left()
            if left <= 0:
                return Stopped.TIMED_OUT
            if transcript.lingers(self.linger.total_seconds()):
                return Stopped.LINGERED
            if transcript.finished:  # no stall: its work is done
                transcript.hear()
            done, _ = await asyncio.wait(
                ends, timeout=min(left, _LOOK), return_when=asyncio.FIRST_COMPLETED
            )
        # Its last words after its end, or its end after the last words.
        await asyncio.wait(ends, timeout=_FAREWELL)
        return None

    def _moving_flags(self, taught: str, session: Session | None) -> list[str]:
        prompt = "\n\n".join(filter(None, (taught, self._append_system_prompt)))
        resumed = session.id if session else None
        return _flags({"append-system-prompt": prompt or None, "resume": resumed})


def _transcript(job: AgentJob, place: Place | None) -> Transcript:
    """What takes the messages of one CLI, and keeps its session if it may be resumed."""
    if place is None:
        return Transcript(job.emit, job.alive)
    emit = keeping(job, place, lambda: (transcript.session_id, {}))
    transcript = Transcript(emit, job.alive)
    return transcript


async def _interrupt(process: ClaudeProcess, transcript: Transcript) -> None:
    """Have the CLI end its turn with a result: that says what was spent, and its session is kept.

    A further cancellation cuts it short.
    """
    if transcript.finished:
        return
    transcript.interrupt()
    process.resulted.clear()
    process.interrupt()
    ends = {process.spawn(process.resulted.wait()), process.spawn(process.silent.wait())}
    seconds = _INTERRUPT.total_seconds()
    await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _shown(command: Sequence[str]) -> list[str]:
    """A command without what is the same in each attempt, or long."""
    left_out = (*_STREAM, "--append-system-prompt=", "--resume=")
    return [word for word in command if not word.startswith(left_out)]


def _environment(env: Mapping[str, str], cwd: Path | None) -> dict[str, str]:
    """The job's environment, and what the SDK adds to it."""
    exact = {"CLAUDE_CODE_ENTRYPOINT": "sdk-py", **env}
    return exact if cwd is None else exact | {"PWD": str(cwd)}


def _budget_flags(budget: Budget) -> list[str]:
    """Have the CLI keep to a budget, and say of each call of the model what that has used."""
    most = None if budget.cost_usd is None else max(budget.cost_usd, 0.0001)
    partial = ["--include-partial-messages"] if budget else []
    return [*_flags({"max-budget-usd": most}), *partial]


def _flags(options: Mapping[str, object]) -> list[str]:
    # As one word, so that a value that begins with a dash stays a value.
    return [f"--{flag}={value}" for flag, value in options.items() if value is not None]


def _wrong_folder(cwd: Path | None) -> str | None:
    there = cwd is None or cwd.is_dir()
    return None if there else f"the folder {str(cwd)!r} does not exist"


def _set_up_failure(reason: str, advice: str = "") -> AgentResult:
    fault = Fault(FaultKind.ENVIRONMENT, text=reason)
    return AgentResult(
        AgentOutcome.FAILED, reason, output_tail=advice, retryable=False, fault=fault
    )


def _check_limits(max_turns: int | None, max_budget_usd: float | None) -> None:
    if max_turns is not None and max_turns < 1:
        raise ConfigurationError(f"max_turns={max_turns!r} must be at least 1.")
    if max_budget_usd is not None and max_budget_usd <= 0:
        raise ConfigurationError(f"max_budget_usd={max_budget_usd!r} must be more than 0.")


def _check_permissions(permissions: Permissions, sdk: str) -> None:
    if permissions not in ("deny", "ask"):
        raise ConfigurationError(f"permissions={permissions!r} must be 'deny' or 'ask'.")
    if permissions == "ask" and sdk != "claude_agent_sdk":
        raise ConfigurationError(
            "permissions='ask' needs claude-agent-sdk: claude-code-sdk cannot answer what the CLI "
            'asks. Beside your clone of Athanore: pip install "./athanore[claude]"'
        )


def _words(option: str, words: Sequence[str]) -> str | None:
    if isinstance(words, str):
        raise ConfigurationError(f"{option}={words!r} must be a list: [{words!r}].")
    return ",".join(words) or None
