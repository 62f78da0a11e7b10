"""Workers that are not heard of any more: they are told of, and forgotten at last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.events import shapes
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.texts import duration

logger = logging.getLogger("athanore.worker")

LOST_STAYS = 3600.0
"""Seconds for which a worker that is not heard of any more is listed; then it is forgotten."""


class Silence:
    """Since when others are silent, as one worker sees it.

    Args:
        monotonic: a clock in seconds.
    """

    def __init__(self, app: App, monotonic: Callable[[], float]) -> None:
        self._app = app
        self._monotonic = monotonic
        self._since: dict[str, float] = {}
        self.lost: set[str] = set()
        """What Prefect calls those that are."""

    async def hears(
        self,
        client: RunStore,
        silent: Collection[str],
        known: Mapping[str, WorkerEntry],
        *,
        tells: bool,
    ) -> None:
        """Note who is silent now; tell of those that are lost, and of those that are back.

        Args:
            silent: what Prefect calls them.
            known: what all said of themselves; a worker that ends by itself has removed that.
            tells: one of all workers does.
        """
        now, patience = self._monotonic(), self._app.dispatcher.settings.worker_lost_after
        self._since = {name: self._since.get(name, now) for name in silent}
        lost = {name for name, since in self._since.items() if now - since > patience}
        if tells:
            self._tell(lost, silent, known, duration(patience))
        self.lost = lost
        for name, since in self._since.items():
            if now - since > LOST_STAYS:
                await fleet.forget_worker(client, self._app.name, known[name].name)

    def _tell(
        self,
        lost: set[str],
        silent: Collection[str],
        known: Mapping[str, WorkerEntry],
        patience: str,
    ) -> None:
        for name in lost - self.lost:
            worker = known[name]
            why = (
                f"It was not heard of for {patience}. Tasks of its agents go back to their queues."
            )
            shapes.send_of_worker(shapes.WORKER_LOST, self._app.name, worker.name, why)
            logger.warning(
                "Worker %s on %s is lost: %s",
                worker.name,
                worker.host,
                why,
                extra={"action": "worker_lost"},
            )
        for name in self.lost - lost:
            if name in known and name not in silent:
                why = "It is heard of again, and takes runs."
                shapes.send_of_worker(shapes.WORKER_BACK, self._app.name, known[name].name, why)
                logger.info("Worker %s is back.", known[name].name, extra={"action": "worker_back"})
