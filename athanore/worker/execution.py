"""Running one flow run as a coroutine of this process, from Pending to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, ObjectNotFound, PrefectHTTPStatusError
from prefect.flow_engine import run_flow
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Crashed, Pending
from prefect.utilities.engine import propose_state

from athanore import names
from athanore.errors import PrefectUnavailableError, RouteError
from athanore.flows.create_task import create_task
from athanore.flows.poll_route import poll_route
from athanore.flows.run_agent import run_agent
from athanore.processes import identity
from athanore.routing.routes import Route
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import Holder
from athanore.runtime.apps import App
from athanore.runtime.registry import app_of_run

_FLOWS: dict[str, Flow[..., Any]] = {
    flow.name: flow for flow in (poll_route, run_agent, create_task)
}
type _Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

_NOT_FOUND = 404
_AT_ONCE = 8


class Execution:
    """Runs the flows for some apps, and starts only a few at a time.

    Args:
        served: the apps whose runs it takes; no run makes this process import another.
        worker: the worker's name in Prefect, under which it sends heartbeats.
    """

    def __init__(self, served: Sequence[App], logger: _Logger, worker: str) -> None:
        self._served = served
        self._worker = worker
        self._logger = logger
        self._starting: set[UUID] = set()
        self._starts = asyncio.Semaphore(_AT_ONCE)
        self._flows: dict[tuple[str, int | None, Path], Flow[..., Any]] = {}

    async def execute(self, client: PrefectRunStore, run: FlowRun, flow_name: str) -> None:
        """Run one flow run to its end. Nothing escapes: a worker outlives its runs."""
        await self._starts.acquire()
        self._starting.add(run.id)
        try:
            if (refusal := self._refusal(run, flow_name)) is not None:
                self._logger.error("%s", refusal, extra={"action": "run_refused"})
                await propose_state(client, Crashed(message=refusal), flow_run_id=run.id)
                return
            taken = str(Holder(self._worker, identity.process()))
            state = await propose_state(client, Pending(message=taken), flow_run_id=run.id)
            if state.is_pending():
                await self._run(client, run, flow_name)
        except (Abort, ObjectNotFound) as exc:
            self._logger.debug("Run %r is not ours to run: %s", run.name, exc)
        except asyncio.CancelledError:
            raise
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code != _NOT_FOUND:
                self._logger.exception(
                    "Run %r ended in an error of the worker.",
                    run.name,
                    extra={"action": "run_crashed"},
                )
            # Else it is a poll that another worker has deleted, because a newer one stands for it.
        except PrefectUnavailableError as exc:
            self._logger.warning(
                "Run %r was stopped without Prefect's knowing: %s",
                run.name,
                exc,
                extra={"action": "run_stopped"},
            )
        except Exception:
            self._logger.exception(
                "Run %r ended in an error of the worker.", run.name, extra={"action": "run_crashed"}
            )
        finally:
            self.started(run.id)

    def started(self, run_id: UUID) -> None:
        """Let the next run start: this one has its agent, or has ended."""
        if run_id in self._starting:
            self._starting.discard(run_id)
            self._starts.release()

    async def _run(self, client: PrefectRunStore, run: FlowRun, flow_name: str) -> None:
        parameters = dict(run.parameters)
        retries = None
        if flow_name == names.AGENT_FLOW and (route := self._route(run)) is not None:
            retries = route.retry.max_retries
        flow = self._flow(flow_name, retries, get_current_settings().results.local_storage_path)
        # The engine re-reads the run; with a deployment id here it would start a thread and a
        # websocket for each run, to hear of suspensions, which our flows do not know.
        bare = run.model_copy(update={"deployment_id": None})
        result = run_flow(flow, flow_run=bare, parameters=parameters, return_type="state")
        assert asyncio.iscoroutine(result)
        state = await result
        if isinstance(state, State) and state.is_cancelling():
            # It was cancelled when it had just stepped back: nobody else would end it.
            ended = Cancelled(message=state.message)
            await client.set_flow_run_state(run.id, ended, force=True)

    def _refusal(self, run: FlowRun, flow_name: str) -> str | None:
        if flow_name not in _FLOWS:
            return (
                f"This worker only runs {', '.join(_FLOWS)}, not {flow_name!r}; "
                "deploy other flows to another work pool."
            )
        if self._app(run) is None:
            served = ", ".join(repr(a.name) for a in self._served)
            name = names.app_of(run.tags) or run.parameters.get("app")
            return f"This worker serves {served}, not the app {name!r}."
        return None

    def _app(self, run: FlowRun) -> App | None:
        return app_of_run(self._served, run.tags, str(run.parameters.get("app")))

    def _route(self, run: FlowRun) -> Route | None:
        app = self._app(run)
        try:
            return app and app.routes.resolve(run.parameters)
        except RouteError:
            return None

    def _flow(self, name: str, retries: int | None, storage: Path) -> Flow[..., Any]:
        """A flow as it is run here.

        Its results go nowhere, but Prefect asks its server where to for every run, and the whole
        event loop waits for the answer, unless a flow names a place.
        """
        key = (name, retries, storage)
        if key not in self._flows:
            self._flows[key] = _FLOWS[name].with_options(
                retries=retries, result_storage=cast(Any, storage)
            )
        return self._flows[key]
