"""Who may have an app's name: one at a time, and what it leaves behind is settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from athanore import AgentDispatcher, JsonFileAdapter, QueueAdapter
from athanore.deployments import check_app_record, claim_app, deploy
from athanore.deployments.plan import plan
from athanore.errors import AppTakenError
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from tests.harness import app_name, prompt


@pytest.fixture
async def client(prefect_api: str) -> AsyncGenerator[PrefectRunStore]:
    """A client of the session's Prefect."""
    async with PrefectRunStore(prefect_api) as client:
        yield client


def board(folder: Path) -> JsonFileAdapter:
    """A board in a folder."""
    folder.mkdir(exist_ok=True)
    adapter = JsonFileAdapter(folder / "board.json")
    adapter.prepare(["Todo", "In Progress", "Done"])
    return adapter


def app(name: str, queue_backend: QueueAdapter, home: str = ".", *, is_named: bool = True) -> App:
    """An app of a name, on a board, from a folder."""
    dispatcher = AgentDispatcher("true", name=name, queue_backend=queue_backend, api_port=0)
    dispatcher.is_named = is_named
    dispatcher.route("Todo")(prompt)
    return App(f"{home}/run.py:dispatcher", dispatcher)


async def test_of_apps_that_start_at_once_on_boards_of_their_own_one_gets_the_name(
    client: PrefectRunStore, tmp_path: Path
) -> None:
    name = app_name("record")
    apps = [app(name, board(tmp_path / str(n))) for n in range(4)]
    claims = [claim_app(client, one, serves=True) for one in apps]
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(r is None for r in results) == 1
    assert sum(isinstance(r, AppTakenError) for r in results) == 3


async def test_workers_of_a_named_app_may_be_anywhere(
    client: PrefectRunStore, tmp_path: Path
) -> None:
    name = app_name("record")
    await claim_app(client, app(name, board(tmp_path), "here"), serves=True)
    await claim_app(client, app(name, board(tmp_path), "there"), serves=True)


async def test_an_unnamed_app_is_refused_elsewhere_while_it_is_at_work(
    client: PrefectRunStore, tmp_path: Path
) -> None:
    name = app_name("record")
    first = app(name, board(tmp_path), "here", is_named=False)
    other = app(name, board(tmp_path), "there", is_named=False)
    await claim_app(client, first, serves=True)
    with pytest.raises(AppTakenError, match=f"{name}' already, which is at work from .*/here on"):
        await claim_app(client, other)
    with pytest.raises(AppTakenError):
        await check_app_record(client, other)
    await claim_app(client, first)


async def test_an_unnamed_app_that_is_not_at_work_may_have_moved(
    client: PrefectRunStore, tmp_path: Path
) -> None:
    name = app_name("record")
    first = app(name, board(tmp_path), "here", is_named=False)
    moved = app(name, board(tmp_path), "there", is_named=False)
    await claim_app(client, first)  # a deploy: nothing of it is alive afterwards
    await claim_app(client, moved, serves=True)
    with pytest.raises(AppTakenError):
        await claim_app(client, first)


async def test_runs_on_a_board_that_an_app_leaves_are_settled(
    client: PrefectRunStore, tmp_path: Path
) -> None:
    name = app_name("record")
    old, new = (app(name, board(tmp_path / place)) for place in ("old", "new"))
    await claim_app(client, old)
    await deploy(client, plan(old.dispatcher, old.reference))
    task = old.dispatcher.board.create_task("Todo", "Of the old board")
    run = await old.dispatching.dispatch(client, old.dispatcher.routes["Todo"], task)
    with pytest.raises(AppTakenError, match="--new-board"):
        await claim_app(client, new)
    await claim_app(client, new, new_board=True)
    after = await client.read_flow_run(run.id)
    assert (after.state_name, record_of(after).is_closed) == (StateName.BOARD_LEFT, True)
    with pytest.raises(AppTakenError):
        await claim_app(client, old)
    for deployment in (await deployments_of(client, name)).values():
        await client.delete_deployment(deployment.id)


async def test_an_app_at_work_leaves_no_board(client: PrefectRunStore, tmp_path: Path) -> None:
    name = app_name("record")
    old, new = (app(name, board(tmp_path / place)) for place in ("old", "new"))
    await claim_app(client, old, serves=True)
    with pytest.raises(AppTakenError, match="is at work on the board"):
        await claim_app(client, new, new_board=True)
