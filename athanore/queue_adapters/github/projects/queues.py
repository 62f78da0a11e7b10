"""The queues of a board on a project of GitHub: its columns, and what its webhook tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from cachetools import TTLCache

from athanore.errors import NotSupportedError
from athanore.models import Queue
from athanore.queue_adapters.github.projects.project import Item, Project
from athanore.queue_adapters.github.webhook import genuine
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.deliveries import Seen
from athanore.queue_adapters.tracker.picture import OWN_COUNTS, Picture

NO_COLUMN: Final = "(no column of the project)"
"""Where an issue is that has left the board, for messages and states."""


class ProjectQueues:
    """The methods of the adapter that are about columns."""

    def __init__(self, project: Project, picture: Picture[Item]) -> None:
        self._project = project
        self._picture = picture
        self._seen = Seen()
        self._written: TTLCache[str, str] = TTLCache(1_000, OWN_COUNTS)

    def list_queues(self) -> list[Queue]:
        """Return the columns in their order, and how many open issues are in each."""
        counts = Counter(item.option for item in self._picture.cards())
        return [Queue(name, counts[id_]) for name, id_ in self._project.columns().options.items()]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one column."""
        self._project.option(queue_name)
        return next(queue for queue in self.list_queues() if queue.name == queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Refused: GitHub takes the list of columns as a whole only, and may empty them."""
        raise self._not_here()

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Refused, as `create_queue`."""
        self._project.option(queue_name)
        raise self._not_here()

    def delete_queue(self, queue_name: str) -> None:
        """Refused, as `create_queue`."""
        self._project.option(queue_name)
        raise self._not_here()

    # --- webhooks ---

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]:
        """Return which of the columns an event of the organization's webhook may have changed."""
        told = genuine(headers, body, secret)
        if not self._seen.is_new(headers["x-hub-signature-256"]):
            return []
        with self._seen.acting(headers["x-hub-signature-256"]):
            return self._affected(headers.get("x-github-event", ""), told, queue_names)

    def forget_picture(self) -> None:
        """Have the next poll read the project."""
        self._picture.expire()

    # --- helpers ---

    def _affected(self, event: str, told: Json, queue_names: Sequence[str]) -> list[str]:
        listed = {item.content_id: item for item in self._picture.cards()}
        if event == "projects_v2_item":
            card = mapping(told.get("projects_v2_item"))
            if card.get("project_node_id") != self._project.columns().id:
                return []
            change = mapping(mapping(told.get("changes")).get("field_value"))
            sides = [mapping(change.get(side)).get("name") for side in ("from", "to")]
            own = self._written.get(str(card.get("content_node_id")))
            if own is not None and mapping(change.get("to")).get("id") == own:
                return []
            self._picture.expire()
            return [name for name in queue_names if name in sides or not any(sides)]
        issue = mapping(told.get("issue"))
        item = listed.get(str(issue.get("node_id")))
        if event not in ("issues", "issue_comment") or item is None:
            return []
        self._picture.expire()
        column = self._column(item)
        return [name for name in queue_names if name == column]

    def _not_here(self) -> NotSupportedError:
        return NotSupportedError(
            f"The columns of a project are made, renamed and deleted on GitHub only: "
            f"{self._project.columns().url}."
        )

    def _column(self, item: Item) -> str:
        """Where an issue is: a column, whether it is open or not."""
        if item.card is None or not item.is_shown or item.option is None:
            return NO_COLUMN
        name = self._project.columns().name(item.option)
        return name or self._project.columns(anew=True).name(item.option) or NO_COLUMN
