"""What an agent is taught about the task API: a short addition to Claude's system prompt."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

_LESSON = """\
# The task board
You work on one task of a task board. The board has an HTTP API; call it with curl from Bash.
Write the calls out as they are here, without shell variables, so that permission rules match.{auth}
- Read your task, its comments and checklist: curl -sS --retry 6 {auth_header}{url}/tasks/{task}
- Comment on it: curl -sS --retry 6 {auth_header}-X POST {url}/tasks/{task}/comments {json} \
-d '{{"comment": "text"}}'
- Move it to another queue: curl -sS --retry 6 {auth_header}-X POST {url}/tasks/{task}/move {json} \
-d '{{"target_queue": "name"}}'
- Change it: curl -sS --retry 6 {auth_header}-X PATCH {url}/tasks/{task} {json} \
-d '{{"name": "...", "description": "..."}}' (send only what changes)
- Create another task: curl -sS --retry 6 {auth_header}-X POST {url}/tasks {json} \
-d '{{"queue_name": "...", "name": "...", "description": "..."}}'
- List the queues: curl -sS --retry 6 {auth_header}{url}/queues
Answers are JSON; an error says in `detail` what was wrong. Comment what people should know about
your work, and move the task when, and only where, your instructions say so."""

_ABOUT_THE_HEADER = """
The file after `-H @` holds your token: curl reads it, and nobody else needs to."""


@contextmanager
def token_header(env: Mapping[str, str]) -> Generator[Path | None]:
    """A file with the header that shows the token in `env`, for the time of the block.

    Only this user may read it. None when `env` has no token.

    Raises:
        OSError: the file cannot be written.
    """
    token = env.get("ATHANORE_TOKEN")
    if not token:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="athanore-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "header")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"Authorization: Bearer {token}\n")
        yield path


def task_api_lesson(env: Mapping[str, str], header: Path | None = None) -> str:
    """The six calls of the task API, for the task that ATHANORE_* in `env` names.

    Everything is written out: Claude Code's permission rules (`Bash(curl:*)`) refuse a command
    with a variable in it. The token is in a file, so that no transcript holds it. Empty when `env`
    names no API or no task.

    Args:
        header: the file with the header that shows the token; see `token_header`.
    """
    url, task = env.get("ATHANORE_API_URL", ""), env.get("ATHANORE_TASK_ID", "")
    if not url or not task:
        return ""
    return _LESSON.format(
        auth="" if header is None else _ABOUT_THE_HEADER,
        auth_header="" if header is None else f"-H {shlex.quote(f'@{header}')} ",
        url=url.rstrip("/"),
        task=quote(task, safe=""),
        json="-H 'Content-Type: application/json'",
    )
