"""A whole app in a thread of the test's process, and a look at Prefect from outside."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore import Task
from athanore.dispatcher import AgentDispatcher
from athanore.launch.foreground import serve
from athanore.launch.stopping import Stop
from athanore.queue_adapters.base import QueueAdapter
from athanore.runtime.apps import App
from athanore.runtime.margins import Margins
from athanore.runtime.registry import registry
from tests.support import LOCAL, of_this_process, wait_until

PATIENT = Margins(prefect=timedelta(seconds=30), route_change=timedelta(seconds=50))
"""For a Prefect that several tests share on a busy machine."""

_numbers = itertools.count(1)
named: list[str] = []
"""The names that tests in this process were given for their apps, in order."""


def app_name(prefix: str = "t") -> str:
    """A name that no other test uses, so that tests can share one Prefect.

    What the app has deployed is deleted after the test.
    """
    named.append(of_this_process(f"{prefix}{next(_numbers)}"))
    return named[-1]


def prompt(task_id: str, task_name: str) -> str:
    """A prompt function for agents that do not care."""
    return f"{task_id}: {task_name}"


class Prefect:
    """What Prefect itself says of an app's runs."""

    def __init__(self, api_url: str, app: str) -> None:
        self.url = api_url
        self.app = app

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to Prefect's API and return the answer."""
        response = LOCAL.post(f"{self.url}{path}", json=body, timeout=120)
        response.raise_for_status()
        return response.json() if response.content else None

    def get(self, path: str, **params: str) -> Any:
        """GET from Prefect's API."""
        response = LOCAL.get(f"{self.url}{path}", params=params, timeout=120)
        response.raise_for_status()
        return response.json()

    def runs(self, task_id: str | None = None, kind: str = "agent-run") -> list[dict[str, Any]]:
        """The app's runs, oldest first.

        Without those that found nothing to do, if there are others: a poll that saw a task just
        before it was done may have made one, and no agent is started by it. Nor those that are
        just being made, which have no state for a moment.
        """
        tags = [f"app:{self.app}", kind, *([f"task:{task_id}"] if task_id else [])]
        asked = {"flow_runs": {"tags": {"all_": tags}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = list[dict[str, Any]]()
        # On a slow machine an app has more polls than the 200 that Prefect tells at once.
        while len(found) % 200 == 0:
            page = self.post("/flow_runs/filter", {**asked, "offset": len(found)})
            found += page
            if not page:
                break
        found = [r for r in found if r["state"] is not None]
        return [r for r in found if r["state_name"] != "Nothing to do"] or found

    def polled(self) -> bool:
        """Tell whether any poll of the app has ended."""
        return self.polls_ended() > 0

    def polls_ended(self) -> int:
        """How many polls of the app have ended."""
        return sum(bool(r["end_time"]) for r in self.runs(kind="poll"))

    def run(self, task_id: str) -> dict[str, Any]:
        """The one run of a task."""
        (run,) = self.runs(task_id)
        return run

    def labels(self, run_id: str) -> dict[str, Any]:
        """A run's labels."""
        return self.get(f"/flow_runs/{run_id}")["labels"]

    def states(self, run_id: str) -> list[str]:
        """The names of a run's states, in order."""
        found = self.get("/flow_run_states/", flow_run_id=run_id)
        return [s["name"] for s in sorted(found, key=lambda s: s["timestamp"])]

    def ended(self, task_id: str, seconds: float = 120) -> dict[str, Any]:
        """Wait until a task's newest run has ended, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.runs(task_id)
            final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
            return found[-1] if found and found[-1]["state_type"] in final else None

        run = wait_until(f"the run of task {task_id} has ended", look, seconds)
        assert run is not None
        return run

    def working(self, task_id: str) -> dict[str, Any]:
        """Wait until a task's run is Running, and return it."""

        def look() -> dict[str, Any] | None:
            return next((r for r in self.runs(task_id) if r["state_type"] == "RUNNING"), None)

        run = wait_until(f"task {task_id} is worked on", look)
        assert run is not None
        return run

    def cancel(self, run_id: str) -> None:
        """Cancel a run as the Prefect UI does."""
        state = {"type": "CANCELLING", "name": "Cancelling", "message": "by hand"}
        self.post(f"/flow_runs/{run_id}/set_state", {"state": state})


class Running:
    """An app at work."""

    def __init__(
        self,
        dispatcher: AgentDispatcher,
        prefect: Prefect,
        stop: Stop,
        thread: threading.Thread,
    ) -> None:
        self.dispatcher = dispatcher
        self.prefect = prefect
        self.stop = stop
        self._thread = thread

    def stopped(self) -> None:
        """Wait until the app has stopped, which `stop.request()` asks for."""
        wait_until("the app has stopped", lambda: not self._thread.is_alive())

    @property
    def board(self) -> QueueAdapter:
        """The app's board."""
        return self.dispatcher.board

    @property
    def api_url(self) -> str:
        """Where the app's task API listens."""
        return self.app.api_url

    @property
    def app(self) -> App:
        """What the process keeps of the app."""
        return next(a for a in registry.all() if a.dispatcher is self.dispatcher)

    def place(self, task_id: str) -> str:
        """The queue that a task is in."""
        return self.board.get_task(task_id).queue_name

    def comments(self, task_id: str) -> list[str]:
        """The texts of a task's comments."""
        return [c.text for c in self.board.get_task(task_id).comments]

    def in_queue(self, task_id: str, queue: str, seconds: float = 120) -> Task:
        """Wait until a task is in a queue."""
        wait_until(f"task {task_id} is in {queue!r}", lambda: self.place(task_id) == queue, seconds)
        return self.board.get_task(task_id)


@contextmanager
def running(
    dispatcher: AgentDispatcher,
    prefect_api: str,
    *,
    keep: bool = False,
    margins: Margins = PATIENT,
) -> Generator[Running]:
    """Run an app as `dispatcher.run()` does, against a Prefect that is there already.

    Args:
        keep: leave the app's deployments in Prefect, for a second start.
        margins: other ones than usual, for the app.
    """
    stop = Stop()
    errors: list[BaseException] = []
    reference = f"{dispatcher.name}.py:dispatcher"

    def target() -> None:
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            try:
                asyncio.run(serve(dispatcher, reference, stop, margins=margins))
            except BaseException as exc:
                errors.append(exc)

    thread = threading.Thread(target=lambda: contextvars.copy_context().run(target))
    thread.start()
    try:
        prefect = Prefect(prefect_api, dispatcher.name)
        # A poll that has run tells that everything else is there.
        wait_until("the app is up", lambda: prefect.polled() or not thread.is_alive())
        if not errors:
            yield Running(dispatcher, prefect, stop, thread)
    finally:
        stop.request()
        stop.request()
        thread.join(timeout=180)
        if not keep:
            tidy_up(prefect_api, dispatcher.name)
    if errors:
        raise errors[0]
    assert not thread.is_alive(), "the app did not stop"


def tidy_up(prefect_api: str, app: str) -> None:
    """Delete an app's deployments, so that the shared server schedules no more polls for it."""
    body = {"deployments": {"tags": {"all_": [f"app:{app}"]}}}
    LOCAL.post(f"{prefect_api}/deployments/bulk_delete", json=body, timeout=120).raise_for_status()
