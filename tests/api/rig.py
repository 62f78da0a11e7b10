"""The task API on a real port, in a thread, before a real board and a real Prefect."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from athanore.api.server import serve_api
from athanore.deployments import deploy, planned
from athanore.deployments.plan import plan
from athanore.dispatcher import AgentDispatcher
from athanore.launch.sockets import listen
from athanore.queue_adapters.base import QueueAdapter
from athanore.runs.connection.transports import prefect_client
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records import tokens
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.runtime.margins import Margins
from tests.harness import PATIENT, Prefect

_deployed: set[tuple[str, str]] = set()

NO_PREFECT = "http://127.0.0.1:9/api"


class Api:
    """A served API; `http` calls it."""

    def __init__(self, app: App, prefect_api: str) -> None:
        self.app = app
        self.url = app.api_url
        self.http = httpx.Client(base_url=app.api_url, timeout=60)
        self.prefect_api = prefect_api
        self.prefect = Prefect(prefect_api, app.name)

    @property
    def dispatcher(self) -> AgentDispatcher:
        return self.app.dispatcher

    @property
    def board(self) -> QueueAdapter:
        return self.dispatcher.board

    def get(self, path: str, status: int = 200, **kwargs: Any) -> Any:
        """GET, check the status, and return the JSON."""
        return self.call("GET", path, status=status, **kwargs)

    def post(self, path: str, body: Any, status: int, **kwargs: Any) -> Any:
        """POST, check the status, and return the JSON."""
        return self.call("POST", path, body, status=status, **kwargs)

    def call(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **kwargs: Any
    ) -> Any:
        """Call the API, check the status and the shape of an error, and return the JSON."""
        response = self.http.request(method, path, json=body, **kwargs)
        assert response.status_code == status, response.text
        if status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            problem = response.json()
            assert problem["status"] == status
            assert problem["type"].startswith("urn:athanore:problem:")
            assert problem["title"] and problem["detail"]
        return response.json() if response.content else None

    def with_prefect[T](self, work: Callable[[PrefectRunStore], Awaitable[T]]) -> T:
        """Do something with Prefect's client."""

        async def main() -> T:
            async with prefect_client() as client:
                return await work(client)

        with temporary_settings({PREFECT_API_URL: self.prefect_api}):
            return asyncio.run(main())

    def deploy(self) -> None:
        """Deploy the app as `athanore deploy` does."""

        async def work(client: PrefectRunStore) -> None:
            wanted = await planned(client, self.dispatcher, self.app.reference)
            await deploy(client, wanted)

        self.with_prefect(work)
        self.app.routes.forget()

    def start_run(self, task_id: str) -> tuple[str, str]:
        """Have Prefect believe that an agent works on a task; return the run's id and its token."""

        async def start(client: PrefectRunStore) -> tuple[str, str]:
            task = self.board.get_task(task_id)
            route = self.dispatcher.routes[task.queue_name]
            run = await self.app.dispatching.dispatch(client, route, task)
            await client.set_flow_run_state(run.id, Pending())
            await client.set_flow_run_state(run.id, Running())
            token = tokens.new_token(run.id)
            run = await client.read_flow_run(run.id)
            await RunLog(client, run, route.retry).open(
                "host-1", token, key=self.dispatcher.settings.signing_key
            )
            return str(run.id), token

        return self.with_prefect(start)

    def end_run(self, run_id: str, state: str = "COMPLETED") -> None:
        """Set the state of a run."""
        body = {"state": {"type": state}, "force": True}
        self.prefect.post(f"/flow_runs/{UUID(run_id)}/set_state", body)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def served(
    dispatcher: AgentDispatcher,
    prefect_api: str = NO_PREFECT,
    *,
    deployed: bool = True,
    margins: Margins = PATIENT,
) -> Generator[Api]:
    """Serve an app's API as `athanore up` does, without workers.

    Args:
        deployed: its routes are.
        margins: other ones than usual.
    """
    settings = dispatcher.settings
    sock = listen(settings.api_host, 0)
    app = App(
        f"{dispatcher.name}.py:dispatcher",
        dispatcher,
        settings.agent_api_url(settings.api_host, sock.getsockname()[1]),
        margins=margins,
    )
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
    started = threading.Event()
    errors: list[BaseException] = []

    async def main() -> None:
        due = deployed and prefect_api != NO_PREFECT
        if due and (prefect_api, app.name) not in _deployed:
            async with prefect_client() as client:
                await deploy(client, plan(dispatcher, app.reference))
            _deployed.add((prefect_api, app.name))
        task = asyncio.create_task(serve_api(app, sock))
        loops.append((asyncio.get_running_loop(), task))
        started.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    def target() -> None:
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            try:
                asyncio.run(main())
            except BaseException as exc:
                errors.append(exc)
            finally:
                started.set()

    thread = threading.Thread(target=lambda: contextvars.copy_context().run(target))
    thread.start()
    started.wait(240)
    try:
        if not errors:
            with Api(app, prefect_api).http as http:
                api = Api(app, prefect_api)
                api.http = http
                yield api
    finally:
        for loop, task in loops:
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        thread.join(180)
    if errors:
        raise errors[0]
    assert not thread.is_alive(), "the API did not stop"
