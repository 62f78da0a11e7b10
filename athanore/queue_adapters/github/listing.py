"""The lists of a repository: its issues, from which the board's picture is made, and its labels.

A list that fits one page is asked for with the mark (ETag) of the last answer: unchanged, it costs
nothing of the account's limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from athanore.http_client.client import Parameters
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Issue, is_pull_request, parse
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, pass_over
from athanore.queue_adapters.tracker.picture import Reading


class Issues:
    """A repository's issues as the source of a picture; `path` is the repository's."""

    def __init__(self, client: GitHubClient, path: str) -> None:
        self._client = client
        self._path = f"{path}/issues"

    def whole(self, mark: str | None) -> Reading[Issue] | None:
        """The open issues, oldest first."""
        return self._read({"state": "open", "sort": "created", "direction": "asc"}, mark)

    def since(self, moment: datetime, mark: str | None) -> Reading[Issue] | None:
        """What has changed since a moment, newest first: a change meanwhile is read twice."""
        order = {"state": "all", "sort": "updated", "direction": "desc"}
        return self._read({**order, "since": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}, mark)

    def _read(self, params: Parameters, mark: str | None) -> Reading[Issue] | None:
        listing = self._client.changed(self._path, params, mark)
        if listing is None:
            return None
        is_small = listing.etag is not None
        cards = list(_parsed(listing.rows))
        return Reading(cards, listing.etag, is_small, listing.at, list(_closed(listing.rows)))


class LabelNames:
    """The names of a repository's labels, in the order in which they were made."""

    def __init__(self, client: GitHubClient, path: str) -> None:
        self._client = client
        self._path = f"{path}/labels"
        self._etag: str | None = None
        self._names: list[str] = []

    def read(self) -> list[str]:
        """Read them if they have changed."""
        changed = self._client.changed(self._path, {}, self._etag)
        if changed is not None:
            self._etag = changed.etag
            in_order = sorted(changed.rows, key=lambda row: int(row["id"]))
            self._names = [str(row["name"]) for row in in_order]
        return self._names


def _closed(rows: Iterable[Json]) -> Iterable[datetime]:
    """When the pull requests of a list that are closed were changed last."""
    closed = (row for row in rows if is_pull_request(row) and row.get("state") == "closed")
    return (at for row in closed if (at := time_of(row.get("updated_at"))) is not None)


def _parsed(rows: Iterable[Json]) -> Iterable[Issue]:
    for row in rows:
        if is_pull_request(row):
            continue
        try:
            yield parse(row)
        except (KeyError, TypeError, ValueError) as exc:
            pass_over("GitHub", row, exc)
