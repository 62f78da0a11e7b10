"""What things are called in Prefect. Pure functions; every name can be read back.

Names of routes are free text and Prefect's names are not: it refuses `/ % & < >`, and cannot read
back names with `?` or `#`, or a lone dot. Those characters, and the colon that separates an app's
name from a route's, are written as `~` and two hex digits per UTF-8 byte (like `%` in URLs).
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

DEFAULT_APP = "athanore"
"""The name of an app whose folder has none; its deployments are called as its queues are."""

POLL_FLOW = "poll-route"
AGENT_FLOW = "run-agent"
SCHEDULE_FLOW = "create-task"

POLL_TAG = "poll"
AGENT_TAG = "agent-run"
SCHEDULE_TAG = "schedule"

API_ROUTE_TAG = "source:api"
"""On deployments of routes that were made over HTTP: no code names them; a deploy keeps them."""

LEAVING_TAG = "leaving"
"""On deployments of a route whose removal has begun."""

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 60

_DRAWN = re.compile(r"[a-z]+-[a-z]+")
_UNSAFE = re.compile(r"[/%&<>?#:~\x00-\x1f\x7f]|^\.+$|^\s|\s$")


def slug(text: str) -> str:
    """Make free text a legal name in Prefect; most texts stay as they are."""
    return _UNSAFE.sub(lambda m: "".join(f"~{b:02X}" for b in m.group().encode()), text)


def unslug(name: str) -> str:
    """Undo `slug`."""
    return unquote(name.replace("~", "%"), errors="strict")


def folder_name(folder: Path) -> str:
    """The name of an app that is named after its folder, in characters that Prefect allows.

    The root folder has no name; an app there has the default one.
    """
    text = unicodedata.normalize("NFC", folder.name)
    name = _NOT_IN_A_NAME.sub("-", text)[:_LONGEST_NAME].strip("-.")
    # Prefect keeps work pools that begin with its own name for itself.
    return f"app-{name}" if name.lower().startswith("prefect") else name or DEFAULT_APP


WEBHOOK_POLL = "webhook poll"
"""The name of a poll that a board's webhook has asked for: it is looked for at once."""

NEWER_THAN = "newer_than"
"""The parameter of a poll that a webhook has asked for: no reading from before that time counts."""

CHANGE_POLL = "change poll"
"""The name of a poll that a worker has made because it saw the board change."""


def deployment_name(app: str, route: str) -> str:
    """The name of a route's two deployments: the route's, after the app's unless it is default."""
    return slug(route) if app == DEFAULT_APP else f"{app}:{slug(route)}"


def agents_pool(app: str) -> str:
    """The work pool of an app's agent runs; its limit is `max_concurrent_agents`."""
    return f"{app}-agents"


def polls_pool(app: str) -> str:
    """The work pool of an app's polls: apart, so that busy agents never block a poll."""
    return f"{app}-polls"


def app_tag(app: str) -> str:
    """The tag on everything that belongs to an app."""
    return f"app:{app}"


def app_of(tags: Iterable[str]) -> str | None:
    """The name of the app that tags name, if any."""
    return next((t.removeprefix("app:") for t in tags if t.startswith("app:")), None)


def route_tag(route: str) -> str:
    """The tag on a route's deployments and runs."""
    return f"route:{route}"


def route_of(parameters: Mapping[str, Any]) -> str:
    """The name of the route that a run or a deployment with these parameters is for."""
    return str(parameters.get("route_name") or parameters.get("queue_name") or "")


def poll_name(tags: Iterable[str], parameters: Mapping[str, Any]) -> str | None:
    """How a run with these tags is called in Prefect if it is a poll of ours: `poll Todo`."""
    found = set(tags)
    route = route_of(parameters)
    return f"poll {route}" if route and {"athanore", POLL_TAG} <= found else None


def is_drawn(name: str) -> bool:
    """Whether the name of a run looks as one that Prefect has drawn: `curious-mongrel`."""
    return _DRAWN.fullmatch(name) is not None


def task_tag(task_id: str) -> str:
    """The tag on a task's agent runs."""
    return f"task:{task_id}"


def task_of(tags: list[str]) -> str | None:
    """The task id that a run's tags name, if any."""
    return next((t.removeprefix("task:") for t in tags if t.startswith("task:")), None)


def task_resource(app: str, task_id: str) -> str:
    """The id of a task among the resources of Prefect's events."""
    return f"athanore.task.{slug(app)}.{slug(task_id)}"


def task_labels(app: str, task_id: str, task_name: str) -> dict[str, str]:
    """A task as the resource of an event."""
    return {
        "prefect.resource.id": task_resource(app, task_id),
        "prefect.resource.name": task_name,
        "athanore.app": app,
        "athanore.task-id": task_id,
    }


def route_resource(app: str, route: str) -> str:
    """The id of a route among the resources of Prefect's events."""
    return f"athanore.route.{slug(app)}.{slug(route)}"


def run_key(app: str, route: str, task_id: str, visit: str) -> str:
    """The idempotency key of one visit of a task to a route: the lock against a second run.

    Keys are unique within a flow, not a deployment, so app and route are in it.
    """
    return f"athanore/{slug(app)}/{slug(route)}/{slug(task_id)}/{visit}"


def poll_key(app: str, route: str, change: str) -> str:
    """The idempotency key of a poll that a change on the board asks for: each change makes one."""
    return f"poll/{slug(app)}/{slug(route)}/{change}"


def is_run_key(key: str | None, app: str, route: str, task_id: str) -> bool:
    """Tell whether a run was created for this task by `dispatch`, and not by hand."""
    return bool(key) and str(key).startswith(run_key(app, route, task_id, ""))


@cache
def worker_name() -> str:
    """This process's name among the workers: `host-pid-xxxx`, in characters that Prefect allows.

    The random end tells it from an earlier worker: in a container every process is number 1, and
    the host may be called the same after a restart.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def host_of_worker(name: str) -> str:
    """The name of the host that the name of a worker of ours begins with; "" of another one."""
    parts = name.rsplit("-", 2)
    return parts[0] if len(parts) == 3 and parts[1].isdecimal() else ""


def short_worker_name(worker: str, app: str) -> str:
    """A worker's name without the pool that ours have at the end of what Prefect calls them."""
    return worker.removesuffix(f" {agents_pool(app)}")
