"""Commands that tell Prefect about an app: deploy, pools, prefect-yaml, automations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from athanore import names
from athanore.cli.context import AppArgument, check_routes, find_app, with_prefect
from athanore.cli.output import say, warn
from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

    from athanore.deployments import Deployed, Plan
    from athanore.runs.prefect_store import PrefectRunStore

_SELDOM = timedelta(minutes=1)

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
    new_board: Annotated[
        bool,
        Parameter(
            name="--new-board",
            negative="",
            help="The app leaves its board for another; its open runs there are cancelled.",
        ),
    ] = False,
) -> None:
    """Make an app's work pools, queues, deployments and schedules in Prefect as the code says.

    It may be repeated at will. A route that is gone from the code is removed: no more agents start,
    those that run may finish, what waits is cancelled (its task stays in its queue). A route that
    was paused stays paused.
    """
    name, dispatcher = find_app(app)
    check_routes(name, dispatcher)

    async def action(client: PrefectRunStore) -> tuple[Plan, Deployed]:
        from athanore.deployments import claim_app, deploy, planned
        from athanore.runtime.apps import App

        await claim_app(client, App(name, dispatcher), new_board=new_board)
        plan = await planned(client, dispatcher, name)
        done = await deploy(client, plan, drain=timedelta(seconds=drain), pool_type=pool_type)
        await _warn_of_process_pools(client, plan)
        return plan, done

    plan, done = with_prefect(action)
    _tell(done.changes)
    routes = sum(d.flow == names.POLL_FLOW for d in plan.deployments)
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

    async def action(client: PrefectRunStore) -> tuple[list[Plan], list[str]]:
        from athanore.deployments import claim_app, make_pools, planned
        from athanore.runtime.apps import App

        for name, dispatcher in named:
            await claim_app(client, App(name, dispatcher))
        plans = [await planned(client, dispatcher, name) for name, dispatcher in named]
        changes: list[str] = []
        for plan in plans:
            changes += await make_pools(client, plan.pools, pool_type)
            await _warn_of_process_pools(client, plan)
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
    pool_type: PoolType = None,
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
    text = prefect_yaml(plan(dispatcher, name), name, file_entrypoints=files, pool_type=pool_type)
    if output is None:
        import sys

        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"{output} cannot be written: {exc.strerror or exc}.") from exc
    say(f"Wrote {output}.")


def automations(
    app: AppArgument = None,
    /,
    *,
    create: Annotated[
        bool, Parameter(name="--create", negative="", help="Create them, or renew what is there.")
    ] = False,
    delete: Annotated[bool, Parameter(name="--delete", negative="", help="Delete them.")] = False,
    notify: Annotated[
        str | None,
        Parameter(help="The notification block that tells people, as slack-webhook/ops."),
    ] = None,
    late_after: Annotated[
        float,
        Parameter(
            help="Minutes that a late agent run may wait before people are told.",
            validator=validators.Number(gte=1),
        ),
    ] = 30,
    lost_after: Annotated[
        float,
        Parameter(
            help="Minutes without a heartbeat after which a run of a stock worker is Crashed.",
            validator=validators.Number(gte=1),
        ),
    ] = 30,
) -> None:
    """Show, create or delete an app's automations in Prefect.

    They tell people of dead letters, of routes that paused themselves, of late runs and of work
    pools without a worker, and crash runs that have sent heartbeats and are silent. Without
    --create or --delete they are only printed, as YAML.
    """
    _, dispatcher = find_app(app)
    if create and delete:
        raise ConfigurationError("Say either --create or --delete.")
    from athanore.deployments import automations as them

    patience = them.Patience(late=timedelta(minutes=late_after), lost=timedelta(minutes=lost_after))

    async def wanted(client: PrefectRunStore) -> list[AutomationCore]:
        block = None if notify is None else await them.notification_block(client, notify)
        return them.automations(dispatcher.name, patience, block)

    async def change(client: PrefectRunStore) -> list[str]:
        action = them.create if create else them.delete
        return await action(client, dispatcher.name, await wanted(client))

    if create or delete:
        _tell(with_prefect(change))
        return
    import sys

    shown = (
        them.automations(dispatcher.name, patience, None)
        if notify is None
        else with_prefect(wanted)
    )
    sys.stdout.write(them.as_yaml(shown))


async def _warn_of_process_pools(client: PrefectRunStore, plan: Plan) -> None:
    """Say what process pools cost, and where anybody may change what they start."""
    from athanore.deployments.pools import PROCESS_TYPE
    from athanore.launch.prefect.prefect_access import HOW_TO_CLOSE, is_open

    pools = [await client.read_work_pool(p.name) for p in plan.pools]
    found = [p.name for p in pools if p.type == PROCESS_TYPE]
    if found:
        warn(what_processes_cost(plan, found))
    if found and await is_open(str(client.api_url).rstrip("/")):
        warn(
            f"Prefect answers without credentials, and a worker of type {PROCESS_TYPE} starts what "
            f"its work pool ({', '.join(found)}) says: everybody who reaches Prefect can change "
            f"the pool and so run any command. To close it, {HOW_TO_CLOSE}."
        )


def what_processes_cost(plan: Plan, pools: Sequence[str]) -> str:
    """What it costs that some pools of an app are of Prefect's process workers."""
    polls = [d.interval for d in plan.deployments if d.interval is not None]
    has_polls, has_agents = (p(plan.app) in pools for p in (names.polls_pool, names.agents_pool))
    whose = " and ".join(
        kind for kind, is_so in (("every poll", has_polls), ("every agent", has_agents)) if is_so
    )
    said = (
        f"A worker of type process starts a Python process for {whose}, which takes a core for "
        "some seconds, and 100 MB of memory while it runs."
    )
    if has_polls and polls:
        a_day = sum(timedelta(days=1) / interval for interval in polls)
        said += (
            f" The routes are polled {a_day:,.0f} times a day. An interval that is shorter than "
            "a poll takes is not kept: of each route one poll runs at a time."
        )
        if min(polls) < _SELDOM:
            said += f" Set poll_interval to {_SELDOM.total_seconds():g} s or more."
    return f"{said} `athanore worker` needs no such process."


def _tell(changes: list[str]) -> None:
    for change in changes:
        say(f"  {change}")
    if not changes:
        say("  nothing to change")
