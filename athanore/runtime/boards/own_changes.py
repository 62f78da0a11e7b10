"""Where this process has put tasks, so that its own changes are told from those of others."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta

from cachetools import TTLCache

_MOST = 10_000
_REMEMBERED = timedelta(seconds=60)


class OwnChanges:
    """The last queue that this process has put each task in, for a minute. Any thread may ask."""

    def __init__(self) -> None:
        self._queues: TTLCache[str, str] = TTLCache(_MOST, _REMEMBERED.total_seconds())
        self._lock = threading.Lock()

    def note(self, task_id: str, queue_name: str) -> None:
        """Note a move, before it is made: whoever looks at the board may see it at once."""
        with self._lock:
            self._queues[task_id] = queue_name

    def forget(self, task_id: str) -> None:
        """Take a task's last change for somebody else's: the move failed, or nobody follows it."""
        with self._lock:
            self._queues.pop(task_id, None)

    def queue_of(self, task_id: str) -> str | None:
        """The queue that this process has put a task in lately."""
        with self._lock:
            return self._queues.get(task_id)

    def seen(self, queues: Mapping[str, str]) -> None:
        """Forget the changes that somebody has seen on the board: what follows them is not ours.

        Args:
            queues: the queues of tasks, by their ids.
        """
        with self._lock:
            for task_id, queue_name in list(self._queues.items()):
                if queues.get(task_id) == queue_name:
                    del self._queues[task_id]
