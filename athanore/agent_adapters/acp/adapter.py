"""`AcpAgentAdapter`: drives any agent that speaks the Agent Client Protocol."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from athanore.agent_adapters.acp import dialects
from athanore.agent_adapters.acp.conversation import Conversation, Permissions
from athanore.agent_adapters.acp.library import library, server_models
from athanore.agent_adapters.acp.wire import Wire
from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.cli.noting import with_noted
from athanore.agent_adapters.common import accounts
from athanore.agent_adapters.common.own_repository import own_repository
from athanore.agent_adapters.common.program import (
    close_pipes,
    exit_code,
    explain,
    judge,
    no_program,
    not_started,
    spawn,
)
from athanore.agent_adapters.common.resuming import fitting, tell_afresh
from athanore.agent_adapters.given.mcp_servers import (
    BoardAccess,
    Servers,
    board_server,
    checked,
    lesson,
)
from athanore.agent_adapters.given.sessions import Place, home_of
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, FaultKind
from athanore.processes.supervisor import STOP_GRACE, supervise
from athanore.version import __version__

_LAST_WORDS = 2.0  # seconds in which a cancelled agent says what it has spent
_UNDERSTOOD = {
    "jetbrains": {"air": {"version": 1, "capabilities": ["sessionFailure"]}},
    "terminal_output": True,
}
"""What agents tell only to a client that says that it understands it."""

_ENDINGS = {
    "max_tokens": "the agent came to the limit of its tokens",
    "max_turn_requests": "max turns reached",
    "refusal": "the agent refused",
    "cancelled": "the agent ended its turn before it was done",
}


class _NotStartedError(Exception):
    """The agent has no session; the result says why."""

    def __init__(self, result: AgentResult) -> None:
        super().__init__(result.reason)
        self.result = result


class AcpAgentAdapter:
    """Runs an agent that speaks the Agent Client Protocol over its standard input and output.

    Words, tools and usage become events; what the agent asks a person for is answered by
    `permissions`, and a tool that was refused, and never used with success after it, is the reason
    of a failure that is not retried.

    Args:
        command: the program that speaks the protocol, as `"claude-agent-acp"` or `"opencode acp"`,
            split as a shell would; else the route's command.
        mode: the mode of its session, in its own words; None for one in which the agent asks, where
            Athanore knows it, else its own.
        config_options: options of its session by their ids, such as `{"model": "sonnet"}`.
        permissions: what the agent may do that it asks for: nothing (`"deny"`), all (`"allow"`),
            what people answer (`"ask"`), or what a function says, which gets title, kind
            (`execute`, `edit`, ...) and input.
        board_access: how the agent reaches its board: over `"mcp"` (the default where that extra is
            there) or with `"curl"`, which the prompt has to teach it then.
        mcp_servers: further MCP servers for its session, by their names.
        resume_on_retry: a retry goes on with the session of the attempt before, where host, HOME,
            folder and the agent's version are the same; else, and when the agent does not know it,
            it starts afresh.
        start_timeout: how long the agent may take until it has a session, in seconds.

    Raises:
        ImportError: the extra `acp` is not installed.
        ConfigurationError: a value is wrong.
    """

    stop_grace = STOP_GRACE + timedelta(seconds=_LAST_WORDS)
    """How long an agent that is stopped may live: it is told so first."""

    def __init__(
        self,
        command: str = "",
        *,
        mode: str | None = None,
        config_options: Mapping[str, str | bool] | None = None,
        permissions: Permissions = "deny",
        board_access: BoardAccess | None = None,
        mcp_servers: Servers | None = None,
        resume_on_retry: bool = False,
        start_timeout: float = 60,
    ) -> None:
        if permissions not in ("deny", "allow", "ask") and not callable(permissions):
            raise ConfigurationError(
                f"permissions={permissions!r} must be 'deny', 'allow', 'ask', or a function of "
                "title, kind and input."
            )
        try:
            shlex.split(command)
        except ValueError as exc:
            raise ConfigurationError(
                f"command={command!r} cannot be split into words: {exc}."
            ) from None
        library()  # so that it already says what to install
        self._board_access: BoardAccess | None = board_access
        self._mcp_servers = checked(board_access, mcp_servers)
        self._command = command
        self._mode = mode
        self._config_options = dict(config_options or {})
        self._permissions: Permissions = permissions
        self._resume_on_retry = resume_on_retry
        self._start_timeout = start_timeout

    def account(self, env: Mapping[str, str]) -> str:
        """Whose usage limits count for the agent; see `SupportsAccount`."""
        name = self._program()
        if "claude" in name:
            return accounts.claude_account(env)
        kind = next((k for k in ("codex", "gemini", "opencode", "qwen") if k in name), name)
        keys = {
            "codex": ("CODEX_API_KEY", "OPENAI_API_KEY"),
            "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            "qwen": ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"),
        }
        homes = {"codex": ("CODEX_HOME", "HOME"), "opencode": ("XDG_DATA_HOME", "HOME")}
        return accounts.account(kind, env, keys.get(kind, ()), homes.get(kind, ("HOME",)))

    @property
    def meter(self) -> Meter:
        """What is known of its costs; nothing of an agent that nobody has tried."""
        name = self._program()
        if not dialects.is_known(name):
            return Meter(name or "acp")
        known = dialects.dialect_of(name)
        return Meter(name, cost=known.tells_cost, tokens=known.tells_tokens)

    def check(self, env: Mapping[str, str], cwd: Path | None) -> str | None:
        """Look for the program; see `SupportsCheck`."""
        words = shlex.split(self._command)
        if not words or ("/" in words[0] and (cwd or Path()).joinpath(words[0]).is_file()):
            return None
        found = shutil.which(words[0], path=env.get("PATH", ""))
        return None if found else f"command not found: {words[0]!r}"

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        command = [*(shlex.split(self._command) or job.command)]
        if not command:
            return not_started("the route has no command")
        dialect = dialects.dialect_of(" ".join(command))
        job = replace(job, env=await asyncio.to_thread(dialect.prepare, job.env))
        conversation = Conversation(job, self._permissions)
        async with AsyncExitStack() as afterwards:
            async with supervise(STOP_GRACE) as agent:
                try:
                    process = spawn(
                        command, cwd=job.cwd, env={**job.env, **agent.env}, with_stdin=True
                    )
                except (OSError, ValueError) as error:
                    return explain(error, command, job)
                afterwards.callback(process.poll)
                afterwards.callback(close_pipes, process)
                agent.led_by(process.pid)
                started = {"pid": process.pid, "command": shlex.join(command)}
                job.emit(AgentEvent(EventKind.STARTED, started))
                wire = await afterwards.enter_async_context(Wire(process, conversation.take_noise))
                connection = library().connect_to_agent(conversation, wire)
                afterwards.push_async_callback(connection.close)
                attempt = _Attempt(self, job, conversation, connection)
                try:
                    async with job.time_limit().kept():
                        result = await attempt.perform()
                except TimeoutError:
                    await attempt.interrupt()
                    result = AgentResult(AgentOutcome.TIMED_OUT, "timed out")
                except asyncio.CancelledError:
                    await attempt.interrupt()
                    raise
                except ConnectionError:
                    code = await exit_code(process.pid)
                    await wire.drained(_LAST_WORDS)
                    result = _broken_off(code, attempt)
            conversation.flush()
        noted = conversation.tools.dialect.noted
        if noted is not None and attempt.session:
            known = await asyncio.to_thread(noted, job.env, attempt.session)
            result = with_noted(job, result, known)
        tail = str(conversation.words) or str(conversation.noise)
        return replace(
            result, output_tail=result.output_tail or tail, usage=dict(conversation.usage)
        )

    def _program(self) -> str:
        return Path(shlex.split(self._command)[0]).name if self._command.strip() else ""

    # -- what an attempt asks of its adapter ----------------------------------------------------

    def servers(self, env: Mapping[str, str]) -> Servers:
        """The MCP servers of a session."""
        return {**board_server(self._board_access, env), **self._mcp_servers}

    def mode_for(self, dialect: dialects.Dialect, offered: Sequence[str]) -> str | None:
        """The mode of a session; None for the agent's own.

        Raises:
            _NotStartedError: the agent has no such mode.
        """
        if self._mode is None:
            return dialect.mode if dialect.mode in offered else None
        if self._mode not in offered:
            modes = ", ".join(map(repr, offered)) or "none"
            reason = f"the agent has no mode {self._mode!r}; there are: {modes}"
            raise _NotStartedError(no_program(reason))
        return self._mode

    @property
    def options(self) -> Mapping[str, str | bool]:
        """The options of its sessions."""
        return self._config_options

    @property
    def resumes(self) -> bool:
        """Whether sessions are kept for later attempts."""
        return self._resume_on_retry

    @property
    def start_timeout(self) -> float:
        """Seconds until an agent must have a session."""
        return self._start_timeout


class _Attempt:
    """One conversation, from its session to the answer to the prompt."""

    def __init__(
        self,
        adapter: AcpAgentAdapter,
        job: AgentJob,
        conversation: Conversation,
        connection: Any,
    ) -> None:
        self.conversation = conversation
        self.session = ""
        self._adapter = adapter
        self._job = job
        self._connection = connection
        self._acp = library()
        self._servers = conversation.servers = adapter.servers(job.env)
        self._where: dict[str, Any] = {"cwd": str((job.cwd or Path()).resolve())}
        self._answer: asyncio.Task[Any] | None = None

    async def perform(self) -> AgentResult:
        """Have the agent do its work.

        Raises:
            ConnectionError: its process has ended.
        """
        timer = asyncio.timeout(self._adapter.start_timeout)
        try:
            try:
                async with timer:
                    await self._start()
            except TimeoutError:
                if not timer.expired():
                    raise
                limit = f"{self._adapter.start_timeout:g} s"
                return not_started(f"the agent had no session after {limit}", retryable=True)
            words = "\n\n".join(filter(None, (lesson(self._servers), self._job.prompt)))
            blocks = [self._acp.text_block(words)]
            self._answer = asyncio.create_task(self._connection.prompt(self.session, blocks))
            if (wait := await self.conversation.long_wait(self._answer)) is not None:
                await self.interrupt()
                return wait.result(None)
            answer = self._answer.result()
        except _NotStartedError as exc:
            return exc.result
        except self._acp.RequestError as exc:
            return self._limited(dialects.failed_request(exc.code, str(exc), exc.data))
        self.conversation.answered(answer.usage)
        if (failed := dialects.typed_failure(answer.field_meta)) is not None:
            return self._limited(failed)
        # Codex ends its turn, as if it were cancelled, when it is refused something.
        if answer.stop_reason in ("end_turn", "cancelled") and self.conversation.tools.refused:
            reason = f"permission denied: {', '.join(self.conversation.tools.refused)}"
            return AgentResult(AgentOutcome.FAILED, reason, retryable=False)
        if answer.stop_reason != "end_turn":
            reason = _ENDINGS.get(answer.stop_reason) or str(answer.stop_reason)
            return AgentResult(AgentOutcome.FAILED, reason)
        return AgentResult(AgentOutcome.SUCCEEDED)

    async def interrupt(self) -> None:
        """Have the agent end its turn; a further cancellation cuts that short."""
        if self._answer is None or self._answer.done():
            return
        with suppress(ConnectionError):
            await self._connection.cancel(self.session)
        await asyncio.wait({self._answer}, timeout=_LAST_WORDS)
        if self._answer.done() and not self._answer.cancelled() and not self._answer.exception():
            self.conversation.answered(self._answer.result().usage)
        self._answer.cancel()

    async def _start(self) -> None:
        schema = self._acp.schema
        ready = await self._connection.initialize(
            protocol_version=self._acp.PROTOCOL_VERSION,
            client_capabilities=schema.ClientCapabilities(field_meta=_UNDERSTOOD),
            client_info=schema.Implementation(name="athanore", version=__version__),
        )
        can = ready.agent_capabilities
        over_http = bool(can and can.mcp_capabilities and can.mcp_capabilities.http)
        models = server_models(self._servers, self._job.env, over_http=over_http)
        info = ready.agent_info
        name = info.name if info else ""
        dialect = self.conversation.tools.dialect = dialects.dialect_of(name)
        self._where["mcp_servers"] = models
        if dialect.guards_git and (repository := own_repository(self._job.env)):
            self._where["additional_directories"] = [str(repository)]
        modes: list[str] | None = None
        if self._adapter.resumes:
            home = home_of(self._job.env, *dialect.homes)
            version = f"{name} {info.version}" if info and info.version else ""
            place = Place.here(home, self._job.cwd, version)
            modes = await self._resume(ready, place)
            self.conversation.keep_in(place, lambda: self.session)
        if modes is None:
            modes = await self._open()
        self.conversation.begin(self.session, name or None)
        if mode := self._adapter.mode_for(dialect, modes):
            await self._connection.set_session_mode(session_id=self.session, mode_id=mode)
        for option, value in self._adapter.options.items():
            await self._connection.set_config_option(option, self.session, value)

    async def _open(self) -> list[str]:
        opened = await self._connection.new_session(**self._where)
        self.session = opened.session_id
        return [m.id for m in opened.modes.available_modes] if opened.modes else []

    async def _resume(self, ready: Any, place: Place) -> list[str] | None:
        """Go on with the session of the attempt before; None if that cannot be done."""
        before, can = fitting(self._job, place), ready.agent_capabilities
        if before is None or can is None:
            return None
        where = {"session_id": before.id, **self._where}
        try:
            if can.session_capabilities and can.session_capabilities.resume is not None:
                answer = await self._connection.resume_session(**where)
            elif can.load_session:
                answer = await self._connection.load_session(**where)
            else:
                return None
        except self._acp.RequestError as exc:
            tell_afresh(self._job, before, str(exc))
            return None
        self.session = before.id
        self.conversation.go_on(before)
        return [m.id for m in answer.modes.available_modes] if answer and answer.modes else []

    def _limited(self, result: AgentResult) -> AgentResult:
        """The reset of a limit, as Claude has told it before, where its words do not say it."""
        at = self.conversation.limit.get("resetsAt")
        fault = result.fault
        if fault is None or fault.retry_at or not result.has_fault(FaultKind.PROVIDER):
            return result
        if not isinstance(at, int | float):
            return result
        with suppress(ValueError, OverflowError, OSError):
            fault = replace(fault, retry_at=datetime.fromtimestamp(at, UTC))
        return replace(result, fault=fault)


def _broken_off(code: int | None, attempt: _Attempt) -> AgentResult:
    """The result of an agent whose process ended before its answer."""
    outcome, reason = judge(code)
    if outcome is AgentOutcome.SUCCEEDED:
        outcome, reason = AgentOutcome.FAILED, "the agent ended without an answer"
    tail = str(attempt.conversation.noise)
    if not attempt.session and code is not None and code > 0:
        last = tail.splitlines()[-1:] or [reason]
        return replace(no_program(f"the agent did not start: {last[0][:200]}"), exit_code=code)
    return AgentResult(outcome, reason, code)
