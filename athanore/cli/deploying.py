"""Commands that tell Prefect about an app: deploy, pools, prefect-yaml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from athanore.cli.context import AppArgument, check_routes, find_app, with_prefect
from athanore.cli.output import say, warn
from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from athanore.deployments import Deployed, Plan

type PoolType = Annotated[
    str | None,
    Parameter(
        name="--pool-type",
        help="Type of new work pools: athanore, or process for Prefect's own (slower) worker.",
    ),
]


def deploy(
    app: AppArgument = None,
    /,
    *,
    drain: Annotated[
        float,
        Parameter(
            help="Seconds that agents of removed routes get to finish.",
            validator=validators.Number(gte=0),
        ),
    ] = 60,
    pool_type: PoolType = None,
) -> None:
    """Make an app's work pools, queues, deployments and schedules in Prefect as the code says.

    It may be repeated at will. A route that is gone from the code is removed: no more agents start,
    those that run may finish, what waits is cancelled (its task stays in its queue). A route that
    was paused stays paused.
    """
    name, dispatcher = find_app(app)
    check_routes(name, dispatcher)

    async def action(client: PrefectClient) -> tuple[Plan, Deployed]:
        from athanore.deployments import deploy, planned

        plan = await planned(client, dispatcher, name)
        done = await deploy(client, plan, drain=timedelta(seconds=drain), pool_type=pool_type)
        return plan, done

    plan, done = with_prefect(action)
    _tell(done.changes)
    routes = len({d.parameters["queue_name"] for d in plan.deployments})
    say(f"{plan.app}: {routes} route{'' if routes == 1 else 's'} deployed, version {plan.version}.")
    for route in done.lingering:
        warn(
            f"Route {route!r} is paused and not yet removed: agents of it still work. "
            "Deploy again when they are done."
        )


def pools(app: AppArgument = None, /, *, pool_type: PoolType = None) -> None:
    """Make the work pools and queues, with their limits and priorities, and nothing else.

    Without APP it does so for the apps that the prefect.yaml in this folder names. Then
    `prefect deploy --all` makes the deployments.
    """
    from athanore.deployments.prefect_yaml import FILE_NAME, apps_in

    file = Path(FILE_NAME)
    named = [find_app(a) for a in (apps_in(file) if app is None and file.is_file() else [app])]
    for name, dispatcher in named:
        check_routes(name, dispatcher)

    async def action(client: PrefectClient) -> tuple[list[Plan], list[str]]:
        from athanore.deployments import make_pools, planned

        plans = [await planned(client, dispatcher, name) for name, dispatcher in named]
        changes: list[str] = []
        for plan in plans:
            changes += await make_pools(client, plan.pools, pool_type)
        return plans, changes

    plans, changes = with_prefect(action)
    _tell(changes)
    for plan in plans:
        say(f"{plan.app}: work pools {' and '.join(p.name for p in plan.pools)} are as planned.")


def prefect_yaml(
    app: AppArgument = None,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write to this file.")
    ] = None,
) -> None:
    """Write an app's deployments as a prefect.yaml, for `prefect deploy --all`.

    The flows are named by their files if this folder has flows/run_agent.py and
    flows/poll_route.py, else by their modules.
    """
    from athanore.deployments.prefect_yaml import prefect_yaml

    name, dispatcher = find_app(app)
    check_routes(name, dispatcher)
    from athanore.deployments.plan import plan

    files = Path("flows/run_agent.py").is_file() and Path("flows/poll_route.py").is_file()
    text = prefect_yaml(plan(dispatcher, name), name, file_entrypoints=files)
    if output is None:
        import sys

        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"{output} cannot be written: {exc.strerror or exc}.") from exc
    say(f"Wrote {output}.")


def _tell(changes: list[str]) -> None:
    for change in changes:
        say(f"  {change}")
    if not changes:
        say("  nothing to change")
