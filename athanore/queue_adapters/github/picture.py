"""The open issues of a repository, as they were a moment ago: what polls are answered from.

A repository with up to 100 open issues is one list, which is asked for with the mark (ETag) of the
last answer: unchanged, it costs nothing of the account's limit. Of a larger one only what has
changed since is asked for, in the same way, and the whole every ten minutes, because an issue that
is deleted or transferred, and a label that is deleted or renamed, changes no issue's time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Issue, Json, is_pull_request, parse

logger = logging.getLogger(__name__)

MAX_AGE: Final = 1.5
"""Seconds in which one reading answers all polls."""

WHOLE_EVERY: Final = 600.0
"""Seconds after which a large repository is read whole."""

OWN_COUNTS: Final = 10.0
"""Seconds for which what we have written is true, whatever a list says: GitHub's lists lag."""

_OVERLAP: Final = timedelta(minutes=1)
"""Changes may appear in the list in another order than their times."""


class Picture:
    """Reads the open issues of one repository; one thread at a time, for all that ask.

    Args:
        path: of the repository.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self, client: GitHubClient, path: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._client = client
        self._path = f"{path}/issues"
        self._lock = threading.Lock()
        self._own_lock = threading.Lock()
        self._listed: dict[int, Issue] = {}
        self._own: dict[int, tuple[Issue, float]] = {}
        self._read_at = float("-inf")
        self._whole_at = float("-inf")
        self._since: str | None = None
        self._etag: str | None = None

    def issues(self) -> list[Issue]:
        """The open issues, oldest first.

        Raises:
            MissingError: the account cannot see the repository.
        """
        with self._lock:
            asked_at = self._now()
            if asked_at - self._read_at >= MAX_AGE:
                self._read(asked_at)
                self._read_at = asked_at
            merged = dict(self._listed)
        now = self._now()
        with self._own_lock:
            self._own = {number: own for number, own in self._own.items() if own[1] > now}
            merged |= {number: issue for number, (issue, _) in self._own.items()}
        return [issue for _, issue in sorted(merged.items()) if issue.is_open]

    def wrote(self, issue: Issue) -> None:
        """Note what we have written, or read of one issue right after."""
        with self._own_lock:
            self._own[issue.number] = (issue, self._now() + OWN_COUNTS)

    def is_own(self, issue: Issue) -> bool:
        """Tell whether an issue is as we have just written it."""
        with self._own_lock:
            own = self._own.get(issue.number)
        if own is None or own[1] <= self._now():
            return False
        mine = own[0]
        same = (issue.title, issue.body, issue.is_open) == (mine.title, mine.body, mine.is_open)
        return same and set(issue.labels) == set(mine.labels)

    def expire(self) -> None:
        """Have the next poll ask what has changed."""
        with self._lock:
            self._read_at = float("-inf")

    def forget(self) -> None:
        """Have everything read anew: a label was renamed or deleted."""
        with self._lock, self._own_lock:
            self._read_at = float("-inf")
            self._since = self._etag = None
            self._own.clear()

    def _read(self, now: float) -> None:
        if self._since is None or now - self._whole_at >= WHOLE_EVERY:
            self._read_whole(now)
        else:
            self._read_changes(self._since)

    def _read_whole(self, now: float) -> None:
        etag = self._etag if self._since is None else None
        order = {"state": "open", "sort": "created", "direction": "asc"}
        listing = self._client.changed(self._path, order, etag)
        if listing is None:
            return
        self._listed = {issue.number: issue for issue in _parsed(listing.rows)}
        self._whole_at = now
        self._etag = listing.etag
        self._since = None if listing.etag else _before(listing.at)

    def _read_changes(self, since: str) -> None:
        # Newest first: what changes while pages are read then comes twice, and is not missed.
        order = {"state": "all", "sort": "updated", "direction": "desc", "since": since}
        listing = self._client.changed(self._path, order, self._etag)
        if listing is None:
            return
        for issue in _parsed(listing.rows):
            known = self._listed.get(issue.number)
            if known is not None and known.updated_at > issue.updated_at:
                continue
            if issue.is_open:
                self._listed[issue.number] = issue
            else:
                self._listed.pop(issue.number, None)
        self._etag = listing.etag
        if listing.etag is None:  # that many changes are not to be read again and again
            self._since = _before(listing.at)


def _parsed(rows: Iterable[Json]) -> Iterable[Issue]:
    for row in rows:
        if is_pull_request(row):
            continue
        try:
            yield parse(row)
        except (KeyError, TypeError, ValueError) as exc:
            logger.error(
                "An issue of GitHub cannot be read, and is passed over: %r in %.200r",
                exc,
                row,
                extra={"action": "github_issue_unreadable"},
            )


def _before(at: datetime) -> str:
    """A moment before a time, as GitHub writes it."""
    return f"{at - _OVERLAP:%Y-%m-%dT%H:%M:%SZ}"
