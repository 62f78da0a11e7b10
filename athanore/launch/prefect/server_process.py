"""How the Prefect server that we start is run: its command line, and the environment it gets."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping

from athanore.http_client.addresses import address_of
from athanore.runs.states import PrefectState, StateName, event_of

_STATES = (
    PrefectState.SCHEDULED,
    PrefectState.LATE,
    PrefectState.PENDING,
    PrefectState.RUNNING,
    PrefectState.COMPLETED,
    StateName.NOTHING_READY,
    StateName.UNCHANGED,
)
EVENTS_THAT_REPEAT = (
    *(event_of(state) for state in _STATES),
    *(event_of(state, "task-run") for state in _STATES),
    "prefect.flow-run.heartbeat",
    "prefect.artifact.created",
    "prefect.artifact.updated",
    "prefect.artifact-collection.created",
    "prefect.artifact-collection.updated",
)
"""What they say, the states, task runs and artifacts themselves say as well, and those stay."""

_REPEATING_EVENTS_STAY = 3600
"""Seconds for which Prefect keeps them, instead of for a week."""

_OF_OTHER_SERVERS = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")


def server_command(host: str, port: int) -> list[str]:
    """The command line that serves Prefect in the foreground."""
    return [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "athanore.launch.prefect.prefect_app:create_app",
        "--host",
        host,
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--timeout-keep-alive",
        "30",
    ]


def server_environment(
    host: str,
    port: int,
    base: Mapping[str, str] | None = None,
    secrets: Collection[str] = (),
) -> dict[str, str]:
    """The environment of that process: ours and Prefect's defaults, without Athanore's settings.

    The server needs none of them. What is in its environment every program of the same user can
    read, agents among them.

    Args:
        base: what is inherited; this process's own environment by default.
        secrets: names of further variables that it must not get, the board's credentials.
    """
    origin = address_of(host, port)
    inherited = os.environ if base is None else base
    people = inherited.get("PREFECT_UI_URL", "").strip().rstrip("/") or origin
    return {
        # A web page must not be able to create runs: only the server's own UI may call it.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        # Where the UI finds the API; by itself Prefect would name the address that is bound.
        "PREFECT_UI_API_URL": f"{people}/api",
        **_defaults(),
        # Last of all, so that what somebody has set wins.
        **{
            name: value
            for name, value in inherited.items()
            if name not in secrets and not _is_kept_back(name, value)
        },
    }


def _is_kept_back(name: str, value: str) -> bool:
    if name.startswith("PREFECT_"):
        return not value.strip()  # as if it were not set, and our default counts
    # The server is configured by its command line; these are meant for somebody else's uvicorn.
    return name.startswith(("ATHANORE_", "UVICORN_")) or name in _OF_OTHER_SERVERS


def _defaults() -> dict[str, str]:
    """Settings of Prefect that the environment may override."""
    return {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        # Prefect's hour would double what waits to be deleted.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "600",
        # Most of what polls and agent runs leave behind.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
            dict.fromkeys(EVENTS_THAT_REPEAT, _REPEATING_EVENTS_STAY)
        ),
        # A task that waits for a slot is not late. To mark a run costs as much as to start it.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "60",
        # Prefect's five are fewer than the requests of eight agents: it would connect all the time.
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
    }
