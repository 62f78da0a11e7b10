"""What the Claude CLI says (stream-json, one object a line), as events, usage and a result.

Nothing here needs an SDK. The shapes are those of CLI 2.1; unknown messages and fields are ignored.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum, auto
from typing import Any, cast

from athanore.agent_adapters.claude import limits, spending
from athanore.agent_adapters.common.output import CUT, LINE_LIMIT, Tail
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind
from athanore.texts import count, cut

type Json = dict[str, Any]

VALUE_LIMIT = 8 * 1024
"""Characters of a tool's input or result in an event."""
_NOT_NOW = frozenset({401, 402, 403})
"""Answers of the API that are about the account: a key, its bill."""

RETRIED_STATUSES = frozenset({408, 409, 425, 429})
_ENDED_TASKS = frozenset({"completed", "failed", "killed", "stopped"})


class Stopped(Enum):
    """Why the adapter stopped the CLI before it came to an end."""

    TIMED_OUT = auto()
    BROKE_OFF = auto()
    LINGERED = auto()


class Transcript:
    """Follows one run of the CLI; memory stays bounded whatever the agent does.

    Args:
        alive: is called for each message, whatever it says.
    """

    def __init__(self, emit: Callable[[AgentEvent], None], alive: Callable[[], None]) -> None:
        self._emit = emit
        self._alive = alive
        self._tail = Tail()
        self._calls: dict[str, str] = {}
        self._refused: dict[str, None] = {}
        self._result: Json | None = None
        self._spent: Json = {}
        self._limit: Json = {}
        self._interrupted = False
        self._after_result = False
        self._finished: float | None = None
        self._background: set[str] = set()
        self._calls_made = spending.Calls()
        self._last_stderr = ""
        self.started = False
        self.session_id: str | None = None
        self.model: str | None = None
        self.agents: list[str] | None = None
        self.missing_subagent: str | None = None

    def take(self, message: Json) -> None:
        """Follow one message of the CLI's standard output."""
        self._alive()  # a heartbeat or the progress of a tool is no event, and a sign of life
        match message.get("type"):
            case "control_response":
                self._take_initialize(message)
            case "system":
                self._take_system(message)
            case "assistant":
                self._begin_turn(message)
                self._take_assistant(message)
            case "user":
                self._begin_turn(message)
                self._take_tool_results(message)
            case "stream_event":
                self._begin_turn(message)
                if self._calls_made.take_part(message):
                    self._emit(AgentEvent(EventKind.COST, self.usage()))
            case "result":
                self._take_result(message)
            case "rate_limit_event":
                self._limit = _object(message.get("rate_limit_info"))
                self._take_note(limits.warning(self._limit), limits.near(self._limit))
            case _:
                pass

    def take_stderr(self, line: str) -> None:
        """Follow one line of the CLI's standard error."""
        self._last_stderr = line.strip() or self._last_stderr
        self._say("stderr", line)

    def hear(self) -> None:
        """Take a sign of life that is no message."""
        self._alive()

    @property
    def finished(self) -> bool:
        """True while the last turn has its result and no further one has begun."""
        return self._finished is not None

    def interrupt(self) -> None:
        """Note that the CLI is told to end its turn: the result that follows is no success."""
        self._interrupted = not self.finished

    def lingers(self, seconds: float) -> bool:
        """Tell whether the CLI has been finished for so long, with nothing to wait for.

        While a command or a subagent works in the background, another turn will follow its end.
        """
        if self._finished is None or self._background:
            return False
        return time.monotonic() - self._finished >= seconds

    def usage(self) -> Json:
        """Cost, tokens, turns and session so far; the cost is known only after a result."""
        known: Json = {"turns": self._calls_made.turns, **self._calls_made.used}
        if self._result is not None:
            known |= self._spent
        if self._result is not None and not self._interrupted:
            # Of an interrupted turn the CLI counts its own messages, too.
            known["turns"] = self._result.get("num_turns")
        known |= {"session_id": self.session_id, "model": self.model}
        return {key: value for key, value in known.items() if value is not None}

    def verdict(self, exit_code: int | None, stopped: Stopped | None = None) -> AgentResult:
        """Say how the run ended, now that the CLI is gone."""
        if stopped is Stopped.TIMED_OUT and (self._interrupted or not self.finished):
            return self._end(AgentOutcome.TIMED_OUT, "timed out", exit_code)
        if self.missing_subagent is not None:
            names = ", ".join(self.agents or ()) or "none"
            reason = f"no subagent is called {self.missing_subagent!r}; there are: {names}"
            return self._not_now(reason, exit_code)
        if self._result is None or self._after_result:
            if stopped is Stopped.BROKE_OFF:
                return self._fail("the conversation with the CLI broke off", exit_code)
            return self._no_result(exit_code)
        if self._result.get("is_error"):
            return self._error_result(self._result, exit_code)
        if self._refused:
            reason = f"permission denied: {', '.join(self._refused)}"
            return self._fail(reason, exit_code, retryable=False)
        return self._end(AgentOutcome.SUCCEEDED, "", exit_code)

    # --- messages -------------------------------------------------------------------------------

    def _take_initialize(self, message: Json) -> None:
        agents = _object(_object(message.get("response")).get("response")).get("agents")
        if isinstance(agents, list):
            found = (_object(agent).get("name") for agent in cast("list[object]", agents))
            self.agents = [name for name in found if isinstance(name, str)]

    def _begin_turn(self, message: Json) -> None:
        if not message.get("parent_tool_use_id"):  # not one of a subagent in the background
            self._finished = None

    def _take_background(self, message: Json) -> None:
        task = str(message.get("task_id"))
        ended = _object(message.get("patch")).get("status") in _ENDED_TASKS
        if message.get("subtype") == "task_started":
            self._background.add(task)
        elif message.get("subtype") == "task_notification" or ended:
            self._background.discard(task)
            if self.finished:  # and not since the result: its end may begin another turn
                self._finished = time.monotonic()

    def _take_system(self, message: Json) -> None:
        match message.get("subtype"):
            case "permission_denied":
                self.refuse(message.get("tool_name"))
            case "task_started" | "task_updated" | "task_notification":
                self._take_background(message)
            case "init":
                self._begin_turn(message)
                self._take_init(message)
            case "api_retry":
                self._take_note(limits.retry(message))
            case _:
                pass

    def _take_note(self, text: str | None, near: Json | None = None) -> None:
        """Tell people what the provider makes the agent wait for, and which limit is near."""
        if text:
            data = {"text": text} | ({} if near is None else {"limit": near})
            self._emit(AgentEvent(EventKind.PROGRESS, data))

    def _take_init(self, message: Json) -> None:
        again, self.started = self.started, True
        self.session_id = message.get("session_id", self.session_id)
        self.model = message.get("model", self.model)
        if again:  # every further turn of a run repeats it
            return
        data = {"session_id": self.session_id, "model": self.model}
        self._emit(AgentEvent(EventKind.PROGRESS, data))
        for server in _objects(message.get("mcp_servers")):
            if server.get("status") in ("failed", "needs-auth"):
                self._say("stderr", f"MCP server {server.get('name')!r}: {server['status']}")

    def _take_assistant(self, message: Json) -> None:
        body = _object(message.get("message"))
        self._after_result = self._result is not None and not message.get("parent_tool_use_id")
        self._calls_made.take_message(message, body)
        for block in _objects(body.get("content")):
            if block.get("type") == "text":
                for line in str(block.get("text", "")).splitlines():
                    self._say("stdout", line)
            elif block.get("type") == "tool_use":
                name = str(block.get("name"))
                self._calls[str(block.get("id"))] = name
                data = {"name": name, "input": _bounded(block.get("input"))}
                self._emit(AgentEvent(EventKind.TOOL_USE, data))

    def _take_tool_results(self, message: Json) -> None:
        for block in _objects(_object(message.get("message")).get("content")):
            if block.get("type") != "tool_result":
                continue
            name = self._calls.pop(str(block.get("tool_use_id")), "")
            failed = bool(block.get("is_error"))
            if not failed:
                self._refused.pop(name, None)
            text = cut(_text(block.get("content")), VALUE_LIMIT)
            data = {"name": name, "is_error": failed, "text": text}
            self._emit(AgentEvent(EventKind.TOOL_RESULT, data))

    def _take_result(self, message: Json) -> None:
        before = count((self._result or {}).get("num_turns"))
        self._spent = spending.spent(message, self._spent)
        self._result = message | {"num_turns": before + count(message.get("num_turns"))}
        self._after_result = False
        # A hook of the user's has left the call to somebody else, who is not there.
        self.refuse(_object(message.get("deferred_tool_use")).get("name"))
        self._finished = time.monotonic()
        self.session_id = message.get("session_id", self.session_id)
        self._emit(AgentEvent(EventKind.COST, self.usage()))

    def refuse(self, tool: object) -> None:
        """Note that a tool was refused."""
        if isinstance(tool, str):
            self._refused[tool] = None

    def _say(self, stream: str, line: str) -> None:
        text = line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]}{CUT}"
        self._tail.add(text)
        self._emit(AgentEvent(EventKind.OUTPUT, {"stream": stream, "text": text}))

    # --- results --------------------------------------------------------------------------------

    def _no_result(self, exit_code: int | None) -> AgentResult:
        if exit_code is None:
            return self._fail("the CLI ended in an unknown way", exit_code)
        if exit_code < 0:
            return self._fail(f"the CLI was killed by {_signal_name(-exit_code)}", exit_code)
        if exit_code and not self.started:
            # It refuses its options, its folder or its settings: it would do so again.
            why = cut(self._last_stderr or f"exit code {exit_code}", 200)
            return self._not_now(f"the CLI did not start: {why}", exit_code)
        if exit_code:
            return self._fail(f"exit code {exit_code}", exit_code)
        return self._fail("the CLI ended without a result", exit_code)

    def _error_result(self, result: Json, exit_code: int | None) -> AgentResult:
        errors = [str(e) for e in cast("list[object]", result.get("errors") or [])]
        for error in errors:
            self._tail.add(error)
        match result.get("subtype"):
            case "error_max_turns":
                return self._fail("max turns reached", exit_code)
            case "error_max_budget_usd":
                # Another attempt would spend the same again.
                failure = self._fail("budget reached", exit_code, retryable=False)
                return replace(failure, fault=Fault(FaultKind.BUDGET))
            case _:
                text = str((errors or [result.get("result") or ""])[0])
                if result.get("terminal_reason") == "api_error" or "API Error" in text:
                    return self._api_error(result, text, exit_code)
                why = f": {cut(text.splitlines()[0], 200)}" if text.strip() else ""
                return self._fail(f"the agent ended in an error{why}", exit_code)

    def _api_error(self, result: Json, text: str, exit_code: int | None) -> AgentResult:
        if (fault := limits.fault(result, text, self._limit)) is not None:
            failure = self._fail(f"provider limit ({fault.text})", exit_code)
            return replace(failure, fault=fault)
        status = result.get("api_error_status")
        if not isinstance(status, int):
            found = re.search(r"API Error:?\D{0,40}([45]\d\d)\b", text)
            status = int(found[1]) if found else None
        if status is None:
            return self._fail("API error: no connection", exit_code)
        retryable = status >= 500 or status in RETRIED_STATUSES
        if status in _NOT_NOW:
            return self._not_now(f"API error {status}", exit_code)
        return self._fail(f"API error {status}", exit_code, retryable=retryable)

    def _fail(self, reason: str, exit_code: int | None, *, retryable: bool = True) -> AgentResult:
        return self._end(AgentOutcome.FAILED, reason, exit_code, retryable=retryable)

    def _not_now(self, reason: str, exit_code: int | None) -> AgentResult:
        fault = Fault(FaultKind.ENVIRONMENT, text=reason)
        return replace(self._fail(reason, exit_code, retryable=False), fault=fault)

    def _end(
        self, outcome: AgentOutcome, reason: str, exit_code: int | None, *, retryable: bool = True
    ) -> AgentResult:
        return AgentResult(
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            output_tail=str(self._tail),
            retryable=retryable,
            usage=self.usage(),
        )


def _bounded(value: object) -> object:
    """A tool's input as it is, or as the beginning of its JSON when it is long."""
    rendered = json.dumps(value, default=str)
    return value if len(rendered) <= VALUE_LIMIT else cut(rendered, VALUE_LIMIT)


def _text(content: object) -> str:
    """The text of a tool's result: a string, or blocks of which the text counts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(b["text"]) for b in _objects(content) if b.get("type") == "text")


def _object(value: object) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}


def _objects(value: object) -> Iterator[Json]:
    if isinstance(value, list):
        yield from (cast(Json, v) for v in cast("list[object]", value) if isinstance(v, dict))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
