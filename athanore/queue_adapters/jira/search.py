"""Jira's search, from which the board's picture is made. It lags behind what is written."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cachetools import LRUCache

from athanore.http_client.cache import Cache
from athanore.queue_adapters.jira.client import JiraClient
from athanore.queue_adapters.jira.issues import CLAIM, FIELDS, Claim, Issue, claim_of, parse
from athanore.queue_adapters.tracker.answers import (
    Json,
    MissingError,
    RefusedValueError,
    mapping,
    pass_over,
)
from athanore.queue_adapters.tracker.picture import Reading

logger = logging.getLogger(__name__)

_PAGE: Final = 100
_MOST_PAGES: Final = 200
_SINGLY: Final = 50
"""Issues that one reading reads one by one at most; the others follow with the next ones."""

_RANKED: Final = "Rank ASC"
_MADE: Final = "created ASC"

_RECONCILED: Final = 50
"""Of so many own writes Jira Cloud is told, whose search then knows them."""


class Search:
    """The issues of a project as the source of a picture.

    Args:
        jql: what narrows the board.
    """

    def __init__(self, client: JiraClient, key: str, site: str, jql: str | None) -> None:
        self._client = client
        self._site = site
        self._project = f'project = "{key}"'
        self._board = self._project + (f" AND ({jql})" if jql else "")
        self._kind = Cache(self._load_kind, timedelta(days=365))
        self._lock = threading.Lock()
        self._watched: frozenset[str] = frozenset()
        self._between: frozenset[str] = frozenset()
        self._claims: LRUCache[tuple[str, str], Claim | None] = LRUCache(10_000)
        self._order = _RANKED
        self._written: deque[int] = deque(maxlen=_RECONCILED)

    @property
    def is_cloud(self) -> bool:
        """Whether this is Jira Cloud; asked once."""
        return self._kind.get("") == "Cloud"

    @property
    def watched(self) -> frozenset[str]:
        """The statuses whose issues are in the picture."""
        with self._lock:
            return self._watched

    def watch(self, statuses: Iterable[str], between: frozenset[str] = frozenset()) -> bool:
        """Have issues with these statuses in the picture, too; True if they were not yet.

        Args:
            between: further ones, in which claims may have left issues on their way.
        """
        with self._lock:
            watched = self._watched | frozenset(statuses) | between
            changes = watched != self._watched
            self._watched, self._between = watched, between
        return changes

    def wrote(self, issue: Issue) -> None:
        """Note an own write."""
        with self._lock:
            if issue.number in self._written:
                self._written.remove(issue.number)
            self._written.append(issue.number)

    def whole(self, mark: str | None) -> Reading[Issue]:
        """The issues in the watched statuses in order; of done ones those of the last 30 days."""
        watched = ", ".join(sorted(self._watched)) or "0"
        jql = f"status in ({watched}) AND (statusCategory != Done OR updated >= -30d)"
        return self._in_order(lambda order: self._reading(jql, order))

    def check_order(self) -> None:
        """Find out whether this Jira has ranks; it is logged if not."""
        self._in_order(lambda order: next(self.rows("created >= -1m", order), None))

    def _in_order[T](self, read: Callable[[str], T]) -> T:
        """Read in the order of ranks; in that of their making where Jira has none.

        Ranks are of Jira Software. Without it a search that asks for them is refused, in words of
        the account's language.
        """
        order = self._order
        try:
            return read(order)
        except RefusedValueError:
            if order == _MADE:
                raise
        found = read(_MADE)
        self._order = _MADE
        logger.warning(
            "This Jira has no ranks, which come with Jira Software: the tasks of a queue come in "
            "the order in which their issues were made.",
            extra={"action": "jira_no_ranks"},
        )
        return found

    def since(self, moment: datetime, mark: str | None) -> Reading[Issue]:
        """What has changed since a moment, in whatever status it is now."""
        # Relative, because a time in JQL is in the account's time zone.
        minutes = max(int((self._client.now() - moment).total_seconds() // 60), 0) + 2
        return self._reading(f"updated >= -{minutes}m", "updated DESC")

    def rows(self, jql: str, order: str = "created DESC", *, whole: bool = False) -> Iterator[Json]:
        """Search, 100 issues a request.

        Args:
            whole: in all of the project, also what is not on the board (yet).
        """
        within = self._project if whole else self._board
        query = {"jql": f"{within} AND {jql} ORDER BY {order}", "fields": [*FIELDS]}
        return self._cloud_rows(query) if self.is_cloud else self._server_rows(query)

    def count(self, statuses: Iterable[str]) -> int:
        """Count the issues in some statuses; on Jira Cloud that is an estimate."""
        jql = f"{self._board} AND status in ({', '.join(sorted(statuses))})"
        if self.is_cloud:
            return int(self._client.ask("api/2/search/approximate-count", {"jql": jql})["count"])
        body = {"jql": jql, "startAt": 0, "maxResults": 0, "fields": ["status"]}
        return int(self._client.ask("api/2/search", body)["total"])

    def _reading(self, jql: str, order: str) -> Reading[Issue]:
        at = self._client.now()
        found = list(self._parsed(self.rows(jql, order)))
        if not self.is_cloud:
            found = self._with_claims(found)
        issues = [replace(issue, is_open=issue.status in self._watched) for issue in found]
        return Reading(issues, None, len(issues) < _PAGE, at)

    def _with_claims(self, issues: Iterable[Issue]) -> list[Issue]:
        """The issues with the claims that have left some on their way.

        The search of Data Center tells no properties, so that issues which may be on their way are
        read one by one, as often as they change.
        """
        found: list[Issue] = []
        left = _SINGLY
        for issue in issues:
            key = issue.id, issue.updated_at
            if issue.status not in self._between:
                found.append(issue)
                continue
            if key not in self._claims and left:
                left -= 1
                self._claims[key] = self._claim_on(issue)
            found.append(replace(issue, claim=self._claims.get(key)))
        return found

    def _claim_on(self, issue: Issue) -> Claim | None:
        try:
            found = self._client.get(f"api/2/issue/{issue.id}/properties/{CLAIM}")
        except MissingError:
            return None
        return claim_of(mapping(found).get("value"))

    def _cloud_rows(self, query: Json) -> Iterator[Json]:
        with self._lock:
            own = list(self._written)
        body = {**query, "properties": [CLAIM], "maxResults": _PAGE}
        body |= {"reconcileIssues": own} if own else {}
        for _ in range(_MOST_PAGES):  # a short page, or an empty one, need not be the last
            answer: Json = self._client.ask("api/2/search/jql", body)
            yield from answer.get("issues") or []
            if not (following := answer.get("nextPageToken")) or answer.get("isLast"):
                return
            body = {**body, "nextPageToken": following}

    def _server_rows(self, query: Json) -> Iterator[Json]:
        start = 0
        for _ in range(_MOST_PAGES):
            body = {**query, "startAt": start, "maxResults": _PAGE}
            answer: Json = self._client.ask("api/2/search", body)
            rows: list[Json] = answer["issues"]
            yield from rows
            start += len(rows)
            if not rows or start >= int(answer["total"]):
                return

    def _parsed(self, rows: Iterable[Json]) -> Iterator[Issue]:
        for row in rows:
            try:
                yield parse(row, self._site)
            except (KeyError, TypeError, ValueError) as exc:
                pass_over("Jira", row, exc)

    def _load_kind(self, _key: str) -> str:
        try:
            return str(self._client.get("api/2/serverInfo").get("deploymentType"))
        except MissingError:
            return "Server"
