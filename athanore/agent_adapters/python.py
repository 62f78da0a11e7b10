"""`PythonAgent`: a function of Python is the agent."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import secrets
import sys
import tempfile
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import TypeAdapter

from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.common.output import Tail
from athanore.agent_adapters.common.program import not_started
from athanore.agent_adapters.python_child import BOOT, Call, Function, as_result, failed
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter, output_event
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind
from athanore.texts import cut

_EVENT = TypeAdapter(AgentEvent)
_RESULT = TypeAdapter(AgentResult)

type Returned = AgentResult | str | None
"""What the function returns: None for success, last words for the same, or a result."""


class PythonAgent:
    """Calls a function with the job of each attempt; an exception is a failure.

    An async function runs in the worker's event loop, which it must not block: what it says, it
    says by `job.say()` and `job.emit()`. Any other function runs in a process of its own, with
    `job.env` as its environment and `job.cwd` as its folder: what it prints is its output, and it
    is stopped as any program is. Its module is imported there, so it has to be a function of a
    module, and what the module does on import must do no harm.

    Args:
        function: what is called.
        in_worker: have a function that is not async run in a thread of the worker. It is given up,
            and not stopped, when its time is up or it is cancelled, and it has the worker's rights
            and environment.

        meter: what the COST events of the function tell (`Meter("triage", cost=True)`); without it
            no budget can be set for it.

    Raises:
        ConfigurationError: another process could not find the function.
    """

    def __init__(
        self,
        function: Callable[[AgentJob], Returned] | Callable[[AgentJob], Awaitable[Returned]],
        *,
        in_worker: bool = False,
        meter: Meter | None = None,
    ) -> None:
        self._function = function
        self.meter = meter or Meter(getattr(function, "__qualname__", "PythonAgent"))
        self._in_worker = in_worker
        self._name = getattr(function, "__qualname__", repr(function))
        self._elsewhere: Function | None = None
        if not in_worker and not inspect.iscoroutinefunction(function):
            self._elsewhere = _findable(function)

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        if self._elsewhere is None:
            return await self._here(job)
        if job.cwd is not None and not job.cwd.is_dir():
            reason = f"the folder {str(job.cwd)!r} does not exist"
            return not_started(reason, fault=Fault(FaultKind.ENVIRONMENT, text=reason))
        with tempfile.TemporaryDirectory(prefix="athanore-", ignore_cleanup_errors=True) as folder:
            mark = f"\x1f{secrets.token_hex(8)} "
            path = _written(Call.of(self._elsewhere, mark, job), Path(folder))
            child = _Child([sys.executable, "-P", "-c", BOOT, path], mark)
            # The function's module is imported where the worker is; then it goes to the folder.
            return await child.run(replace(job, cwd=None))

    async def _here(self, job: AgentJob) -> AgentResult:
        tail, is_open = Tail(), True

        def emit(event: AgentEvent) -> None:
            if is_open:
                if event.kind is EventKind.OUTPUT:
                    tail.add(str(event.data.get("text", "")))
                job.emit(event)

        emit(AgentEvent(EventKind.STARTED, {"pid": None, "command": self._name}))
        heard = replace(job, emit=emit)
        timer: asyncio.Timeout | None = None
        try:
            async with job.time_limit().kept() as timer:
                if inspect.iscoroutinefunction(self._function):
                    work = cast(Callable[[AgentJob], Coroutine[Any, Any, Returned]], self._function)
                    value = await work(heard)
                else:
                    value = await _in_thread(cast(Any, self._function), heard)
            result = as_result(value, heard.say)
        except TimeoutError as exc:
            timed_out = AgentResult(AgentOutcome.TIMED_OUT, "timed out")
            result = timed_out if timer and timer.expired() else failed(exc)
        except Exception as exc:
            heard.say(traceback.format_exc(), "stderr")
            result = failed(exc)
        finally:
            is_open = False
        return result if result.output_tail else replace(result, output_tail=str(tail))


class _Child(SubprocessAgentAdapter):
    """One call in a process of its own: a line with the mark is an event, or the result."""

    line_limit = 16 * 1024 * 1024
    waits = False
    is_over = False

    def __init__(self, command: list[str], mark: str) -> None:
        self._command_line = command
        self._mark = mark
        self._result: AgentResult | None = None

    def build_command(self, job: AgentJob) -> list[str]:
        return self._command_line

    def open_reader(self, job: AgentJob) -> _Child:
        return self

    def take(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        text, mark, message = line.partition(self._mark)
        if text or not mark:
            yield output_event(stream, text)
        if mark and message.startswith("event "):
            yield _EVENT.validate_json(message.removeprefix("event "))
        elif mark:
            self._result = _RESULT.validate_json(message.removeprefix("result "))

    def last_words(self, line: str, events: Iterable[AgentEvent]) -> Iterable[str]:
        return [str(e.data.get("text")) for e in events if e.kind is EventKind.OUTPUT]

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        return None if self._result is None else replace(self._result, exit_code=exit_code)


def _written(call: Call, folder: Path) -> str:
    """The path of a file with what the process has to know; only this user may read it."""
    path = folder / "call"
    path.write_bytes(pickle.dumps(list(sys.path)) + pickle.dumps(call))
    return str(path)


def _findable(function: Callable[..., object]) -> Function:
    """Where another process finds a function.

    Raises:
        ConfigurationError: nowhere.
    """
    module = sys.modules.get(getattr(function, "__module__", ""))
    name = getattr(function, "__qualname__", "")
    file = getattr(module, "__file__", None)
    if module is None or not name or "<" in name or file is None:
        raise ConfigurationError(
            f"PythonAgent: {cut(repr(function), 200)} is no function of a module, so a process of "
            "its own could not find it. Define it at the top level of a file, make it async, or "
            "pass in_worker=True."
        )
    return Function(module.__name__, str(Path(file).resolve()), name)


async def _in_thread(function: Callable[[AgentJob], Returned], job: AgentJob) -> Returned:
    """Call a function in a thread that nobody waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Returned] = loop.create_future()

    def tell(act: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(act)

    def end(set_end: Callable[[], None]) -> None:
        if not done.done():
            set_end()

    def emit(event: AgentEvent) -> None:
        tell(partial(job.emit, event))

    heard = replace(job, emit=emit, alive=lambda: tell(job.alive))

    def work() -> None:
        try:
            value = function(heard)
        except Exception as exc:
            tell(partial(end, partial(done.set_exception, exc)))
        else:
            tell(partial(end, partial(done.set_result, value)))

    threading.Thread(target=work, name=f"PythonAgent {job.task.id}", daemon=True).start()
    return await done
