"""The lists of a project: its issues, from which the board's picture is made, and its labels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from athanore.http_client.client import Parameters
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.gitlab.issues import Issue, parse
from athanore.queue_adapters.tracker.answers import Json, pass_over
from athanore.queue_adapters.tracker.picture import Reading


class Issues:
    """A project's issues as the source of a picture; `path` is the project's."""

    def __init__(self, client: GitLabClient, path: str) -> None:
        self._client = client
        self._path = f"{path}/issues"

    def whole(self, mark: str | None) -> Reading[Issue]:
        """The open issues, in the order in which people have dragged them on boards."""
        return self._read({"state": "opened", "order_by": "relative_position", "sort": "asc"})

    def since(self, moment: datetime, mark: str | None) -> Reading[Issue]:
        """What has changed since a moment, newest first: a change meanwhile is read twice."""
        order = {"state": "all", "order_by": "updated_at", "sort": "desc"}
        reading = self._read({**order, "updated_after": f"{moment:%Y-%m-%dT%H:%M:%SZ}"})
        in_order = sorted(reading.cards, key=lambda issue: issue.number)
        return Reading(in_order, None, reading.is_small, reading.at)

    def _read(self, params: Parameters) -> Reading[Issue]:
        listing = self._client.listing(self._path, {**params, "scope": "all"})
        return Reading(list(_parsed(listing.rows)), None, listing.is_small, listing.at)


class LabelNames:
    """The names of the labels of a project, and of its groups: all of them, or a board's lists."""

    def __init__(self, client: GitLabClient, path: str, board: str | None) -> None:
        self._client = client
        self._path = path
        self._board = board

    def read(self) -> list[str]:
        """The labels in the order in which they were made, or of the board's lists."""
        if self._board is not None:
            return [name for _, name in self.lists()[1]]
        pages = self._client.pages(f"{self._path}/labels")
        rows = [row for page in pages for row in page]
        return [str(row["name"]) for row in sorted(rows, key=lambda row: int(row["id"]))]

    def lists(self) -> tuple[int | None, list[tuple[int, str]]]:
        """The board's number, and of its lists that have a label the number and the label.

        The number is None if there is no such board.
        """
        low = (self._board or "").strip().lower()
        for page in self._client.pages(f"{self._path}/boards"):
            for row in page:
                if str(row.get("name") or "").strip().lower() == low:
                    lists = sorted(row.get("lists") or [], key=lambda one: one["position"])
                    found = [(int(one["id"]), one.get("label")) for one in lists]
                    return int(row["id"]), [(n, str(label["name"])) for n, label in found if label]
        return None, []


def _parsed(rows: Iterable[Json]) -> Iterable[Issue]:
    for row in rows:
        try:
            yield parse(row)
        except (KeyError, TypeError, ValueError) as exc:
            pass_over("GitLab", row, exc)
