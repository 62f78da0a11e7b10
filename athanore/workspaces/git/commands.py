"""The one place where git is called: with nothing of the environment and of the configuration of
whoever started the worker, and without hooks.

An agent's folder is never the repository of a call: its configuration could name programs. What is
done with it is done from the mirror, which takes the folder as files, or fetches from its path.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from athanore.errors import WorkspaceError
from athanore.texts import cut_lines, readable
from athanore.workspaces.git.address import Login

GIT_TIMEOUT = timedelta(minutes=10)
"""How long a call of git may take."""

_GRACE = timedelta(seconds=5)

_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "core.attributesFile": os.devnull,
        "core.excludesFile": os.devnull,
        "core.quotePath": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "advice.detachedHead": "false",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "false",
    }
)

_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_AUTHOR_NAME": "Athanore",
        "GIT_AUTHOR_EMAIL": "athanore@localhost",
        "GIT_COMMITTER_NAME": "Athanore",
        "GIT_COMMITTER_EMAIL": "athanore@localhost",
    }
)

_OF_THE_NETWORK = (
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
"""What a fetch from elsewhere has of the worker's environment: for ssh, .netrc, proxies."""

_HELPER = (
    "import os, sys\n"
    "while sys.argv[2] == 'get' and (part := os.read(int(sys.argv[1]), 65536)):\n"
    "    os.write(1, part)"
)
"""What git calls when a server asks who it is: with the number of the socket, and `get`."""


class GitError(WorkspaceError):
    """A call of git failed."""


def upstream_environment() -> dict[str, str]:
    """What is added for a fetch from where the repository is; never for one from a folder."""
    found = {name: os.environ[name] for name in _OF_THE_NETWORK if name in os.environ}
    return found | {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    }


class Git:
    """Calls git.

    Args:
        mark: variables by which the calls are found, should this process be killed.
    """

    def __init__(self, mark: Mapping[str, str] = MappingProxyType({})) -> None:
        self._mark = mark

    async def __call__(
        self,
        *words: str | Path,
        git_dir: Path | None = None,
        cwd: Path | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] = MappingProxyType({}),
        config: Mapping[str, str] = MappingProxyType({}),
        login: Login | None = None,
        limit: timedelta = GIT_TIMEOUT,
        nothing: int = 0,
    ) -> str:
        """Call git and return what it puts out, without the newline at its end.

        Args:
            git_dir: the repository; without one the call is about none.
            env: variables that are added.
            config: settings that are added.
            login: for the server that is called; in no variable and no argument.
            nothing: the exit code by which this call says that it has found nothing.

        Raises:
            GitError: it failed, took too long, or git is not there.
        """
        told = [str(word) for word in words]
        variables = {
            **_ENVIRONMENT,
            "PATH": os.environ.get("PATH", os.defpath),
            **self._mark,
            **env,
        }
        if git_dir is not None:
            variables["GIT_DIR"] = str(git_dir)
        if login is not None:  # before git asks us, .netrc would count
            variables["HOME"] = _ENVIRONMENT["HOME"]
        try:
            with _handed_over(login) as (asked, inherited):
                process = await asyncio.create_subprocess_exec(
                    "git",
                    *told,
                    cwd=cwd or git_dir or "/",
                    env=variables | _as_variables({**_SETTINGS, **config, **asked}),
                    start_new_session=True,
                    pass_fds=inherited,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
        except (OSError, ValueError) as exc:
            raise GitError(f"git {told[0]} cannot be started: {exc}.") from exc
        try:
            async with asyncio.timeout(limit.total_seconds()):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            raise GitError(
                f"git {told[0]} took longer than {limit.total_seconds():g} seconds."
            ) from None
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode not in (0, nothing):
            said = cut_lines(readable(err.decode(errors="replace")).strip(), 1000, 20)
            raise GitError(f"git {told[0]} failed (exit code {process.returncode})", said)
        return out.decode(errors="surrogateescape").removesuffix("\n")


@contextmanager
def _handed_over(login: Login | None) -> Generator[tuple[Mapping[str, str], tuple[int, ...]]]:
    """Have a login ready for one call of git, by a socket that it inherits.

    A variable of a process can be read by every program of the same user, as its files can, and its
    arguments by everybody; the socket of another process cannot be opened.

    Returns:
        The settings of the call, and the descriptors that its process inherits.
    """
    if login is None:
        yield {}, ()
        return
    ours, gits = socket.socketpair()
    with gits:
        with ours:
            ours.sendall(f"username={login.name}\npassword={login.password}\n".encode())
        number = gits.fileno()
        helper = shlex.join([sys.executable, "-I", "-S", "-c", _HELPER, str(number)])
        settings = {
            f"credential.{login.server}.helper": f"!{helper}",
            "http.proactiveAuth": "basic",  # from git 2.46 on; else it waits until it is asked
        }
        yield settings, (number,)


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of git, as it takes them from its environment."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a git, which removes its locks if it is asked, and has some seconds for it."""
    try:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE.total_seconds()):
                await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
