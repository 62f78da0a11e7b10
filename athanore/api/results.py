"""What agents hand in, and what they have handed in."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from athanore.api.models import ResultModel
from athanore.api.prefect.agent_runs import AgentRuns
from athanore.api.prefect.link import PrefectLink
from athanore.api.problems import Problem
from athanore.api.security.auth import Caller
from athanore.errors import ResultRefusedError
from athanore.routing import outputs
from athanore.runs import store
from athanore.runs.records.outputs import hand_in, handed_in
from athanore.runs.records.record import start_at_work
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import called


class Results:
    """Takes the results of agents, and finds them again."""

    def __init__(self, app: App, prefect: PrefectLink, runs: AgentRuns) -> None:
        self._app = app
        self._prefect = prefect
        self._runs = runs

    async def take(self, caller: Caller, task_id: str, result: dict[str, Any]) -> ResultModel:
        """Check and keep what the agent of a task hands in.

        Raises:
            Problem: 409, no agent works on the task, or its route takes no result; 422, it is
                none.
            PrefectUnavailableError: it cannot be kept now.
        """
        run_id, start, name = await self._work_on(caller, task_id)
        known = called(await self._runs.routes(), name)
        output = None if known is None else known.route.output
        if output is None:
            raise Problem(
                409,
                "no-result-expected",
                f"Route {name!r} takes no result (it has no output=). Say what you did in a "
                "comment.",
            )
        try:
            clean = self._app.redactor.value(result)
            text = outputs.written(clean)
            await asyncio.to_thread(outputs.read, output, text)
        except (ResultRefusedError, RecursionError) as exc:
            raise _refused(exc) from exc
        async with self._prefect.client() as client:
            await hand_in(client, run_id, start, text)
        return ResultModel(task_id=task_id, run_id=str(run_id), result=clean)

    async def newest(self, task_id: str) -> ResultModel:
        """The result of the newest run of a task that has one.

        Raises:
            Problem: 404, none has.
            PrefectUnavailableError: Prefect did not answer.
        """
        found = await self._runs.history(task_id)
        async with self._prefect.client() as client:
            for run in found:
                text = await handed_in(client, run.id)
                if text is not None:
                    result = json.loads(text)
                    return ResultModel(task_id=task_id, run_id=str(run.id), result=result)
        raise Problem(404, "no-result", f"No agent of task {task_id!r} has handed in a result.")

    async def _work_on(self, caller: Caller, task_id: str) -> tuple[UUID, int, str]:
        """The run of a task that an agent works on, with the number of its start and its route."""
        if caller.task_id == task_id and caller.run_id and caller.start and caller.route:
            return caller.run_id, caller.start, caller.route
        active = (await self._runs.of_task(task_id, fresh=True)).active
        start = None if active is None else start_at_work(active)
        if active is None or start is None or active.state_type not in store.WORKING:
            raise Problem(
                409, "no-agent", f"No agent works on task {task_id!r}, so there is no result."
            )
        return active.id, start, store.route_name(active)


def _refused(error: ResultRefusedError | RecursionError) -> Problem:
    if isinstance(error, RecursionError):
        error = ResultRefusedError("JSON", [("result", "it is nested too deep")])
    wrong = [{"field": field, "message": message} for field, message in error.fields]
    return Problem(
        422,
        "result-refused",
        f"{error} Nothing was kept of it: correct it, and hand in the whole result again.",
        errors=wrong,
    )
