"""The environment of an agent: the worker's, less secrets and what tells of its launcher."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping

from athanore.dispatcher import AgentDispatcher
from athanore.http_client.addresses import passwords_in, without_login
from athanore.http_client.proxies import without_proxy_for_loopback
from athanore.models import Task
from athanore.queue_adapters.base import HasSecretEnv, QueueAdapter
from athanore.routing.routes import Route
from athanore.runtime.secrets.inheritance import WITHOUT_TERMINAL, is_of_the_launcher
from athanore.texts import cut
from athanore.workspaces.base import Workspace

_SECRET = re.compile(
    r"""
    ATHANORE_(API_KEY|TOKEN|WEBHOOK_TOKEN|NOTIFY_WEBHOOK_(URL|SECRET))
    | PREFECT_API_(KEY|AUTH_STRING)
    | PREFECT_SERVER_API_AUTH_STRING
    | PREFECT_(API|SERVER)_DATABASE_\w+
    | PREFECT_CLIENT_CUSTOM_HEADERS
    | PREFECT_\w*(PASSWORD|SECRET|TOKEN)\w*
    | PREFECT__\w+
    """,
    re.VERBOSE,
)

_ADDRESS = re.compile(r"(ATHANORE|PREFECT|PLANKA)_\w*URL")
"""Variables whose addresses may have a login in them that is ours, and not an agent's."""


_LONGEST_NAME = 1000  # a variable has a limit of its own, and the card has the whole name


def secret_variables(dispatcher: AgentDispatcher) -> frozenset[str]:
    """The environment variables that hold the credentials of an app's board and forges."""
    names = set(board_secrets(dispatcher.board))
    names.update(*(forge.secret_env for forge in dispatcher.forges))
    return frozenset(names)


def board_secrets(adapter: QueueAdapter | None) -> frozenset[str]:
    """The environment variables that hold the board's credentials."""
    return adapter.secret_env if isinstance(adapter, HasSecretEnv) else frozenset()


def is_secret(name: str, variables: Collection[str] = ()) -> bool:
    """Tell whether an environment variable must not reach an agent.

    Args:
        variables: those that hold credentials of the app; see `secret_variables`.
    """
    return name in variables or _SECRET.fullmatch(name) is not None


def agent_environment(
    route: Route,
    task: Task,
    *,
    attempt: int,
    api_url: str,
    token: str = "",
    workspace: Workspace | None = None,
    base: Mapping[str, str] | None = None,
    secrets: Collection[str] = (),
) -> dict[str, str]:
    """Build the whole environment of one agent.

    Args:
        workspace: the folder that it was given; None if it starts elsewhere.
        token: what the agent shows to the task API; see `athanore.runs.records.tokens`.
        base: what is inherited; the process's own environment by default.
        secrets: the variables that are not; see `secret_variables`.
    """
    inherited = os.environ if base is None else base
    env = {
        name: without_login(value) if _ADDRESS.fullmatch(name) else value
        for name, value in inherited.items()
        if not is_secret(name, secrets) and not is_of_the_launcher(name)
    }
    env.update(WITHOUT_TERMINAL)
    env.update(
        {
            "ATHANORE_API_URL": api_url,
            "ATHANORE_TASK_ID": task.id,
            "ATHANORE_TASK_NAME": cut(task.name.replace("\0", ""), _LONGEST_NAME),
            "ATHANORE_QUEUE": route.queue_name,
            "ATHANORE_ATTEMPT": str(attempt),
        }
    )
    if workspace is not None:
        env |= {
            "ATHANORE_WORKSPACE": str(workspace.path),
            "ATHANORE_BRANCH": workspace.branch,
            "ATHANORE_BASE": workspace.base,
        }
    if token:
        env["ATHANORE_TOKEN"] = token
    env.update(route.env)
    # The task API is mostly on this machine, and a proxy would look for it on its own.
    return env | without_proxy_for_loopback(env)


REDACTED = "[redacted]"


def known_secrets(
    variables: Collection[str] = (), base: Mapping[str, str] | None = None
) -> frozenset[str]:
    """The values of the secrets in the environment, which must show up nowhere.

    The passwords in addresses are among them, also those of proxies, which agents do inherit.

    Args:
        variables: those that hold credentials of the app; see `secret_variables`.
    """
    environment = os.environ if base is None else base
    found = {value for name, value in environment.items() if is_secret(name, variables)}
    for name, value in environment.items():
        if _ADDRESS.fullmatch(name) or name.lower().endswith("_proxy"):
            found |= passwords_in(value)
    return frozenset(found)
