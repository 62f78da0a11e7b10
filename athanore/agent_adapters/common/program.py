"""Start a program without a shell, wait for its end without reaping it, and say what went wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind

_POLL = 0.05  # seconds between looks at a process where the system tells nobody of its end
_LONGEST_ARGUMENT = 128 * 1024  # Linux: MAX_ARG_STRLEN
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)


def spawn(
    command: list[str], *, cwd: Path | None, env: Mapping[str, str], with_stdin: bool = False
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, stdout and stderr piped, unbuffered.

    Its stdin is empty, or with `with_stdin` a pipe.

    Called in the event loop, as asyncio's own spawn is: it takes a millisecond or two. That one is
    of no use here. It waits for a child as soon as it ends, and from then on its pid and process
    group could be a stranger's; and it can be cancelled half way.

    Raises:
        OSError, ValueError: it cannot be started; `explain` says why.
    """
    return subprocess.Popen(
        [command[0], *map(_as_bytes, command[1:])],
        stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=cwd,
        env={name: _variable(name, value) for name, value in env.items()},
        start_new_session=True,
    )


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close our ends, also where nobody came to use them."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _as_bytes(text: str) -> bytes:
    """An argument in UTF-8, whatever our locale is: it is mostly the text of a card."""
    return text.encode("utf-8", "surrogateescape")


def _variable(name: str, value: str) -> bytes:
    """A variable as we have it ourselves, or in UTF-8."""
    return os.fsencode(value) if os.environ.get(name) == value else _as_bytes(value)


async def exit_code(pid: int) -> int | None:
    """Wait until a child has ended, but leave its pid taken until somebody reaps it.

    Returns the code, negative for a signal; None if somebody else has reaped it.
    """
    try:
        await _end_of(pid)
        while True:
            end = _peek(pid)
            if end:
                return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            await asyncio.sleep(_POLL)
    except ChildProcessError:
        return None


def _peek(pid: int) -> os.waitid_result | None:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


async def _end_of(pid: int) -> None:
    """Wait for the end of a process, without a thread; return at once where that cannot be done."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, a sandbox that forbids it, no descriptor left
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def fault_of(code: int | None) -> Fault | None:
    """The fault of an agent that says by its exit code that it cannot work now, whatever its task.

    None for any other code.
    """
    return Fault(FaultKind.ENVIRONMENT, text="not now") if code == os.EX_TEMPFAIL else None


def judge(code: int | None) -> tuple[AgentOutcome, str]:
    """Say in an outcome and a few words what an exit code means; None is one that was lost."""
    if code is None:
        return AgentOutcome.FAILED, "exit code lost (is SIGCHLD ignored in the worker?)"
    if code == 0:
        return AgentOutcome.SUCCEEDED, ""
    if fault_of(code) is not None:
        return AgentOutcome.FAILED, f"exit code {code}: not now"
    if code > 0:
        return AgentOutcome.FAILED, f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return AgentOutcome.FAILED, f"killed by {name}"


def not_started(reason: str, *, retryable: bool = False, fault: Fault | None = None) -> AgentResult:
    """The result of an attempt whose program did not even start."""
    return AgentResult(AgentOutcome.FAILED, reason, retryable=retryable, fault=fault)


def no_program(reason: str) -> AgentResult:
    """The result of an attempt whose program nobody could start, whatever the task."""
    return not_started(reason, fault=Fault(FaultKind.ENVIRONMENT, text=reason))


def explain(error: OSError | ValueError, command: list[str], job: AgentJob) -> AgentResult:
    """Say why `spawn` failed, and whether it might succeed another time."""
    if isinstance(error, ValueError):  # a NUL byte, or half a surrogate pair
        where = "prompt" if _is_refused(job.prompt) else "command or environment"
        return not_started(f"the {where} holds a character that no program can be given ({error})")
    program, number = command[0], error.errno or 0
    if job.cwd and str(error.filename) == str(job.cwd):
        return no_program(f"working directory {str(job.cwd)!r}: {os.strerror(number)}")
    if number in (errno.ENOENT, errno.ENOTDIR):
        if _exists(program, job):
            return no_program(f"the interpreter of the script {program!r} does not exist")
        return no_program(f"command not found: {program!r}")
    if number == errno.EACCES:
        return no_program(f"not executable: {program!r}")
    if number == errno.ENOEXEC:
        return no_program(f"not a program: {program!r} (does it lack a #! line?)")
    if number == errno.E2BIG:
        return not_started(_too_long(command, job))
    reason = f"cannot start {program!r}: {os.strerror(number)}"
    return not_started(reason, retryable=number in _PASSING)


def _too_long(command: list[str], job: AgentJob) -> str:
    """Say which of the texts that a program is given is too long, or that all are together."""
    words = enumerate(command)
    sizes = {
        "the prompt" if n and job.prompt and job.prompt in word else f"argument {n}": _size(word)
        for n, word in words
    }
    sizes |= {f"the variable {n}": len(n) + 1 + _size(value) for n, value in job.env.items()}
    longest = max(sizes, key=sizes.__getitem__)
    if sizes[longest] < _LONGEST_ARGUMENT:
        return (
            f"arguments and environment together have {sum(sizes.values())} bytes, too many for "
            f"a program; the longest is {longest} with {sizes[longest]} bytes"
        )
    advice = "; let the agent read its task from $ATHANORE_API_URL/tasks/ID instead"
    says = f"{longest} of {sizes[longest]} bytes is too long for a program"
    return says + advice if longest == "the prompt" else says


def _size(text: str) -> int:
    return len(_as_bytes(text))


def _exists(program: str, job: AgentJob) -> bool:
    if "/" in program:
        return (job.cwd or Path()).joinpath(program).is_file()
    return shutil.which(program, path=job.env.get("PATH", os.defpath)) is not None


def _is_refused(word: str) -> bool:
    try:
        return b"\0" in _as_bytes(word)
    except UnicodeEncodeError:
        return True
