"""What an agent is taught about the task API: a short addition to Claude's system prompt."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

_LESSON = """\
# The task board
You work on one task of a task board. The board has an HTTP API; call it with curl from Bash{auth}.
Write the addresses out as they are here, without shell variables, so that permission rules match.
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


def task_api_lesson(env: Mapping[str, str]) -> str:
    """The six calls of the task API, for the task that ATHANORE_* in `env` names.

    Addresses are written out: Claude Code's permission rules (`Bash(curl:*)`) refuse a command
    with a variable in it. Only the token stays a variable, so that no transcript holds it. Empty
    when `env` names no API or no task.
    """
    url, task = env.get("ATHANORE_API_URL", ""), env.get("ATHANORE_TASK_ID", "")
    if not url or not task:
        return ""
    token = bool(env.get("ATHANORE_TOKEN"))
    return _LESSON.format(
        auth=", with your token from $ATHANORE_TOKEN" if token else "",
        auth_header='-H "Authorization: Bearer $ATHANORE_TOKEN" ' if token else "",
        url=url.rstrip("/"),
        task=quote(task, safe=""),
        json="-H 'Content-Type: application/json'",
    )
