"""Publishing what an agent did: its branch is pushed, and a pull request is there for it.

Each step looks before it does something, so that all of it may be repeated after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from athanore.errors import DispatchError, PublishRefusedError, TaskBusyError
from athanore.forges.base import Forge, PullRequest, PullRequestState
from athanore.forges.texts import PullRequestTask
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.kept import pulls
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import NOBODYS_WISH, StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes, called, ranked_routes
from athanore.services import tasks
from athanore.services.access import PrefectAccess
from athanore.workspaces.base import PublishesWork, Pushed, Shown, ShowsWork

_RUNS = 50  # of a task, that are looked at


@dataclass(frozen=True, slots=True)
class Published:
    """What came of publishing a branch.

    Attributes:
        text: what is to be said on the card.
        commit: what is published.
        pull: the pull request for it, if there is one.
    """

    text: str
    commit: str = ""
    pull: PullRequest | None = None


async def publish(
    app: App, route: Route, task: Task, *, allow_ci_changes: bool = False, approved: str = ""
) -> Published:
    """Publish the branch of a task that no agent works on.

    Args:
        allow_ci_changes: whatever the route says.
        approved: the commit that an operator has approved, files of the CI included; the branch
            goes only if it is at that.

    Raises:
        PublishRefusedError: a person has to look at it first.
        PublishError: it cannot be published now.
    """
    provider = _provider(route)
    there = provider.preview(app.name, task)
    forge = provider.forge if route.publish == "pull-request" else None
    found = await asyncio.to_thread(forge.find, there.branch) if forge else None
    if found is not None and found.state is PullRequestState.CLOSED:
        raise PublishRefusedError(
            f"the pull request {found.url} was closed, so nothing is added to it. Reopen it, or "
            "take the task off the board"
        )
    allowed = allow_ci_changes or route.allow_ci_changes
    if approved and isinstance(provider, ShowsWork):
        pushed = await provider.push(app.name, task.id, allow_ci_changes=True, commit=approved)
    else:
        pushed = await provider.push(app.name, task.id, allow_ci_changes=allowed)
    where = f"branch {there.branch!r} at {pushed.commit[:10]}"
    if not pushed.subjects:
        text = f"There is nothing to publish: {where} adds nothing to {there.base!r}."
        return Published(text)
    count = len(pushed.subjects)
    many = f"{count} commit{'s' if count > 1 else ''}"
    if forge is None:
        return Published(f"Published: {where}, {many}, on {provider.published_at}.", pushed.commit)
    clean = app.redactor.text
    about = PullRequestTask(
        replace(task, name=clean(task.name), description=clean(task.description)),
        there.branch,
        there.base,
        tuple(clean(subject) for subject in pushed.subjects),
    )
    request = await _pull_request(forge, found, pushed, about)
    text = f"Published: {request.url} ({where}, {many})."
    return Published(text, pushed.commit, request)


async def show(app: App, route: Route, task: Task) -> tuple[str, Shown]:
    """The branch of a task, and what publishing it would bring.

    Raises:
        PublishError: it cannot be looked at now.
    """
    provider = _provider(route)
    if not isinstance(provider, ShowsWork):
        raise PublishRefusedError(f"what route {route.name!r} publishes cannot be shown")
    return provider.preview(app.name, task).branch, await provider.show(app.name, task.id)


def _provider(route: Route) -> PublishesWork:
    provider = route.workspace
    if route.publish is None or not isinstance(provider, PublishesWork):
        raise PublishRefusedError(f"route {route.name!r} publishes nothing")
    return provider


async def follow(prefect: RunStore, app: App, route: Route, task_id: str, done: Published) -> None:
    """Have what comes back of a pull request looked at, where its route wants that."""
    if done.pull is None or not (route.reactions or route.merged_queue):
        return
    pull = done.pull
    opened = OpenPull(app.name, route.name, task_id, pull.number, pull.url, done.commit)
    await pulls.published(prefect, opened)


async def publish_by_hand(
    prefect: PrefectAccess, app: App, task_id: str, by: str, *, allow_ci_changes: bool
) -> str:
    """Publish what a person has looked at, and have the task go on; returns what came of it.

    Raises:
        TaskNotFoundError: no task has this id.
        DispatchError: an agent works on it, or waits to; or no route publishes it.
        PublishError: it cannot be published.
    """
    task = await tasks.read(app, await app.board.id_of(task_id))
    task_id = task.id  # which may have been typed otherwise
    async with prefect.client() as client:
        run = (await store.active_runs(client, app.name, [task_id])).get(task_id)
        ended = await store.find_runs(
            client,
            app.name,
            store.FINISHED,
            task_ids=[task_id],
            sort=FlowRunSort.END_TIME_DESC,
            limit=_RUNS,
        )
        routes = await app.routes.read(client)
    if run is not None:
        raise TaskBusyError(task_id, str(run.id), run.name)
    route = _publisher(routes, task, [r for r in ended if r.state_name not in NOBODYS_WISH])
    try:
        said = await publish(app, route, task, allow_ci_changes=allow_ci_changes)
    except PublishRefusedError as exc:
        hint = " (--allow-ci-changes publishes it all the same)" if exc.about_ci else ""
        raise PublishRefusedError(f"Not published: {exc}{hint}.", about_ci=exc.about_ci) from exc
    async with prefect.client() as client:
        await follow(client, app, route, task_id, said)
    text = app.redactor.text(said.text)
    await tasks.comment(app, task_id, text, by)
    resting = (route.in_progress_queue, route.dead_letter_queue)
    if route.done_queue is None or task.queue_name not in resting:
        return text
    await tasks.move(prefect, app, task_id, route.done_queue, by)
    return f"{text} Moved to {route.done_queue!r}."


def _publisher(routes: Routes, task: Task, ended: Sequence[FlowRun]) -> Route:
    """The route that publishes what was done for a task: the last one that worked on it.

    Args:
        ended: the task's finished runs, the newest first; without one its queue says which route.

    Raises:
        DispatchError: there is none, or several may be meant.
    """
    for run in ended:
        record = record_of(run)
        if not record.starts or (run.state_name == StateName.REJECTED and not record.outcome_start):
            continue  # no agent has worked
        known = called(routes, store.route_name(run))
        if known is not None and known.route.publish is not None:
            return known.route
    publishing = [k.route for k in ranked_routes(routes) if k.route.publish is not None]
    if not publishing:
        raise DispatchError("No route publishes anything; give one publish=.")
    fitting = [
        r
        for r in publishing
        if task.queue_name in (r.in_progress_queue, r.dead_letter_queue, r.done_queue)
    ] or publishing
    if len({(id(r.workspace), r.publish) for r in fitting}) > 1:
        raise DispatchError(
            f"Task {task.id!r} has no run of a route that publishes, and several may be meant: "
            f"{', '.join(repr(r.name) for r in fitting)}. Dispatch it to one of them."
        )
    return fitting[0]


async def _pull_request(
    forge: Forge, found: PullRequest | None, pushed: Pushed, about: PullRequestTask
) -> PullRequest:
    """The pull request for a branch that was pushed."""
    if found is not None and found.state is PullRequestState.OPEN:
        await asyncio.to_thread(forge.update, found, about)
        return found
    if found is not None and found.head == pushed.commit:
        return found  # merged, and nothing was done since
    return await asyncio.to_thread(forge.open, about.branch, about.base, about)
