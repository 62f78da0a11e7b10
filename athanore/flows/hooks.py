"""What happens after a run has ended: the dead letter, and the next stage of the pipeline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from athanore.board import Board
from athanore.errors import BoardError, DispatchError, RouteError, TaskNotFoundError
from athanore.flows import apps, control, runs
from athanore.flows.ledger import Ledger
from athanore.flows.patience import until_board_answers
from athanore.flows.transcript import Log
from athanore.routes import Route

BOARD_PATIENCE = timedelta(seconds=60)
"""How long a hook waits for a board that is away, at each step."""


async def dead_letter(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Give a task up whose attempts are exhausted: comment, and move it to the dead-letter queue.

    If the board is away for longer than a minute, the next poll does it.
    """
    found = await _app_and_route(flow_run)
    if found is None:
        return
    app, route, task_id = found
    log = flow_run_logger(flow_run, flow)
    try:
        await bury(app, route, task_id, state.message or "failed", log)
    except BoardError as exc:
        log.error("The dead-letter move waits for the next poll: %s", exc)
        return
    async with runs.prefect_client() as client:
        await Ledger(client, flow_run, route.retry).close()
    control.wake()


async def bury(
    app: apps.App, route: Route, task_id: str, reason: str, log: Log, opening: str | None = None
) -> None:
    """Comment and move a task that has no attempt left: safe to repeat.

    A task that is no longer in progress is left alone.

    Raises:
        BoardError: the board is away, or has no such dead-letter queue.
    """
    board, target = app.board, route.dead_letter_queue
    if opening is None:
        opening = f"Max retries ({route.retry.max_retries}) exhausted."
    text = opening + (
        " No dead-letter queue configured; leaving in place."
        if target is None
        else " Moving to dead-letter queue."
    )
    comment = text if reason == opening else f"{text}\n{reason}"
    try:
        task = await until_board_answers(lambda: board.task(task_id), log, BOARD_PATIENCE)
        if task.queue_name != route.in_progress_queue:
            return
        await until_board_answers(
            lambda: comment_once(board, task_id, comment), log, BOARD_PATIENCE
        )
        if target is not None:
            await until_board_answers(lambda: board.move(task_id, target), log, BOARD_PATIENCE)
    except TaskNotFoundError as exc:
        log.warning("No dead letter: %s", exc)


async def comment_once(board: Board, task_id: str, text: str) -> None:
    """Add a comment unless the newest one says the same already."""
    comments = (await board.task(task_id)).comments
    if not comments or comments[-1].text != text:
        await board.comment(task_id, text)


async def hand_on(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Dispatch the task at once if the agent moved it to a queue that another route watches."""
    if state.name == "HandedOver":
        return
    app = apps.find(str(flow_run.parameters["app"]))
    task_id = str(flow_run.parameters["task_id"])
    try:
        task = await app.board.task(task_id)
        async with runs.prefect_client() as client:
            known = (await app.routes.read(client)).get(task.queue_name)
            if known is None:
                return
            await runs.dispatch(client, app.name, known.route, task)
        control.wake()
    except (BoardError, DispatchError) as exc:
        flow_run_logger(flow_run, flow).warning("The next poll dispatches the task: %s", exc)


async def _app_and_route(flow_run: FlowRun) -> tuple[apps.App, Route, str] | None:
    parameters = flow_run.parameters
    app = apps.find(str(parameters["app"]))
    try:
        async with runs.prefect_client() as client:
            route = await app.routes.find(
                client, str(parameters["queue_name"]), parameters.get("route")
            )
    except RouteError:
        return None
    return app, route, str(parameters["task_id"])
