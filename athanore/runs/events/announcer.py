"""Sending what people and agents do to a task as events of that task, besides its agent's own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from prefect.settings import get_current_settings

from athanore import names
from athanore.models import EventKind
from athanore.runs.events import shapes

_COUNTED_SOURCES = 10_000


class Announcer:
    """Sends events about the tasks of one app, from one process."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._counts: OrderedDict[tuple[str, UUID | None], tuple[str, int]] = OrderedDict()

    def announce(
        self,
        task_id: str,
        kind: EventKind,
        data: Mapping[str, Any],
        run_id: UUID | None,
        task_name: str = "",
    ) -> None:
        """Send one event; it never raises for a Prefect that is away.

        Args:
            run_id: the run whose agent did it; None if it was somebody else.
            task_name: for people, where it is known.
        """
        if not get_current_settings().api.url:
            return  # Prefect's client would start a server of its own
        # One source for each run: who reads a run's events has all of its numbers from the first.
        told = (task_id, run_id)
        source, count = self._counts.pop(told, (f"api-{uuid4().hex[:12]}", 0))
        self._counts[told] = (source, count + 1)
        if len(self._counts) > _COUNTED_SOURCES:
            self._counts.popitem(last=False)
        related: list[dict[str, str]] = []
        if run_id is not None:
            related = [
                {
                    "prefect.resource.id": f"prefect.flow-run.{run_id}",
                    "prefect.resource.role": "flow-run",
                }
            ]
        resource = {
            "prefect.resource.id": names.task_resource(self._app, task_id),
            "athanore.app": self._app,
            "athanore.task-id": task_id,
            **({"prefect.resource.name": task_name} if task_name else {}),
        }
        shapes.send(kind, data, {"seq": count + 1, "src": source}, resource, related)
