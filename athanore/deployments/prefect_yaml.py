"""`prefect.yaml`: writing it from an app, and finding the apps that one names.

The file holds what `prefect deploy --all` makes. Limits of pools and queues, queue priorities and
pool types have no place in it; `athanore pools` makes those, from the app that its deployments
name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml

from athanore import names
from athanore.deployments.plan import DeploymentPlan, Plan
from athanore.deployments.pools import IF_ONE_RUNS, PROCESS_TYPE, is_limited
from athanore.errors import ConfigurationError

FILE_NAME = "prefect.yaml"

_ENTRYPOINTS = {
    names.POLL_FLOW: "flows/poll_route.py:poll_route",
    names.AGENT_FLOW: "flows/run_agent.py:run_agent",
    names.SCHEDULE_FLOW: "flows/create_task.py:create_task",
}

_HEAD = """\
# The deployments of {reference}, for `prefect deploy --all`.
# Written by `athanore prefect-yaml`; when the app changes, write it again:
#
#   athanore prefect-yaml {reference}{option} -o prefect.yaml
#
# Work pools come first, because this file cannot say their limits and priorities:
#
#   athanore pools{option}
#   prefect deploy --all
#
"""


def prefect_yaml(
    plan: Plan, reference: str, *, file_entrypoints: bool = True, pool_type: str | None = None
) -> str:
    """Write the `prefect.yaml` of an app.

    Args:
        file_entrypoints: name the flows by their files in `flows/`, which a person can open; else
            by their modules, which every installation of Athanore has.
        pool_type: of the work pools. In pools of processes one poll of a route runs at a time.

    Raises:
        ConfigurationError: a queue's name would be taken for a template of Prefect's.
    """
    content = {
        "name": plan.app,
        "deployments": [
            _deployment(d, file_entrypoints, is_process=pool_type == PROCESS_TYPE)
            for d in plan.deployments
        ],
    }
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    option = "" if pool_type is None else f" --pool-type {pool_type}"
    return _HEAD.format(reference=reference, option=option) + text


def apps_in(path: Path) -> list[str]:
    """Return the apps that the deployments in a `prefect.yaml` name, each once.

    Raises:
        ConfigurationError: the file is not YAML, or no deployment in it is Athanore's.
    """
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        what = " ".join(str(exc).split())
        raise ConfigurationError(f"{path} cannot be read: {what}") from exc
    found: list[str] = []
    for deployment in _items(content, "deployments"):
        parameters = _fields(_fields(deployment).get("parameters"))
        if isinstance(parameters.get("app"), str) and "queue_name" in parameters:
            found.append(str(parameters["app"]))
    if not found:
        raise ConfigurationError(
            f"No deployment in {path} has the parameters app and queue_name; "
            "name the app: `athanore pools run.py:dispatcher`."
        )
    return list(dict.fromkeys(found))


def _fields(value: object) -> dict[str, object]:
    return cast(dict[str, object], value) if isinstance(value, dict) else {}


def _items(value: object, key: str) -> list[object]:
    found = _fields(value).get(key)
    return cast(list[object], found) if isinstance(found, list) else []


def _deployment(
    plan: DeploymentPlan, file_entrypoints: bool, *, is_process: bool
) -> dict[str, Any]:
    if any("{{" in str(value) for value in plan.parameters.values()):
        name = plan.parameters.get("queue_name", plan.name)
        raise ConfigurationError(
            f"{name!r} cannot be written to prefect.yaml, because Prefect "
            "takes {{ for a template; use `athanore deploy`."
        )
    content: dict[str, Any] = {
        "name": plan.name,
        "version": plan.version,
        "description": plan.description.replace("{{", "{ {"),
        "entrypoint": _ENTRYPOINTS[plan.flow] if file_entrypoints else plan.entrypoint,
        "parameters": dict(plan.parameters),
        "enforce_parameter_schema": True,
        "tags": list(plan.tags),
        "work_pool": {"name": plan.pool},
    }
    if plan.queue is not None:
        content["work_pool"]["work_queue_name"] = plan.queue
    if plan.interval is not None:
        seconds = plan.interval.total_seconds()
        content["schedules"] = [{"interval": int(seconds) if seconds == int(seconds) else seconds}]
    if is_limited(plan, is_process=is_process):
        content["concurrency_limit"] = {"limit": 1, "collision_strategy": IF_ONE_RUNS.value}
    if plan.cron is not None:
        content["schedules"] = [{"cron": plan.cron.cron, "timezone": plan.cron.time_zone}]
    return content


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _write_text)  # pyright: ignore[reportUnknownMemberType]
