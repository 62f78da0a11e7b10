"""The issues of the team: lists for polls, and single ones as they are now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

from cachetools import TTLCache

from athanore.errors import BoardUnavailableError
from athanore.models import Comment
from athanore.queue_adapters.linear import documents
from athanore.queue_adapters.linear.client import LinearClient
from athanore.queue_adapters.linear.issues import (
    CLOSED,
    Issue,
    blockers_in,
    comments,
    is_id,
    parse,
)
from athanore.queue_adapters.linear.team import Team
from athanore.queue_adapters.tracker.answers import Json, pass_over
from athanore.queue_adapters.tracker.checks import about
from athanore.queue_adapters.tracker.picture import Clock, Picture, Reading

_PAGE: Final = 100

_REMEMBERED: Final = 60.0
"""Seconds for which is known who blocks an issue with many relations."""


class Blockers:
    """Tells who blocks an issue, also where only others of many relations fit the answer about it.

    Of an issue that is blocked by nobody in the answer the rest is asked for, once a minute.
    """

    def __init__(self, client: LinearClient, now: Clock) -> None:
        self._client = client
        self._known: TTLCache[str, tuple[str, ...]] = TTLCache(1_000, _REMEMBERED, now)

    def complete(self, issue: Issue, row: Json) -> Issue:
        """An issue that was read from a row, with all who block it."""
        if issue.blockers or not row["inverseRelations"]["pageInfo"]["hasNextPage"]:
            return issue
        known = self._known.get(issue.id)
        if known is None:
            path = ("issue", "inverseRelations")
            rows = self._client.nodes(documents.RELATIONS, {"id": issue.id}, *path)
            known = self._known[issue.id] = blockers_in(rows)
        return replace(issue, blockers=known)


class Lists:
    """Where the picture of the team's open issues is read from; one reading at a time.

    What time it is by Linear's clock is told by the newest change, and by how long that is known:
    else what was changed at once, by an import, would be read again until something else changes.
    """

    def __init__(self, client: LinearClient, team: Team, blockers: Blockers, now: Clock) -> None:
        self._client = client
        self._team = team
        self._blockers = blockers
        self._now = now
        self._newest = datetime.fromisoformat("1970-01-01T00:00:00.000Z")
        self._known_since = now()
        self._has_issues = False

    def whole(self, mark: str | None) -> Reading[Issue]:
        """Read the open issues; `mark` is None, because Linear has no ETag."""
        wanted = {"state": {"type": {"nin": sorted(CLOSED)}}}
        asked_at, found = self._now(), self._read(wanted, archived=False)
        if self._has_issues and not found:  # also where the user has lost the team
            self._team.facts(anew=True)
        self._has_issues = bool(found)
        return Reading(found, None, len(found) <= _PAGE, self._at(asked_at, found))

    def since(self, moment: datetime, mark: str | None) -> Reading[Issue]:
        """Read what has changed since a moment: also what was closed, or put into the archive."""
        wanted = {"updatedAt": {"gte": moment.isoformat()}}
        asked_at, found = self._now(), self._read(wanted, archived=True)
        return Reading(found, None, len(found) <= _PAGE, self._at(asked_at, found))

    def _read(self, wanted: Json, *, archived: bool) -> list[Issue]:
        own = {"team": {"id": {"eq": self._team.facts().id}}, **wanted}
        rows = self._client.nodes(documents.ISSUES, {"filter": own, "all": archived}, "issues")
        return [self._blockers.complete(issue, row) for issue, row in _parsed(rows)]

    def _at(self, asked_at: float, found: list[Issue]) -> datetime:
        """When a reading was asked for, at the earliest, by Linear's clock."""
        told = [datetime.fromisoformat(issue.updated_at) for issue in found]
        if told and (newest := max(told)) > self._newest:
            self._newest, self._known_since = newest, self._now()
        return self._newest + timedelta(seconds=max(asked_at - self._known_since, 0))


class Issues:
    """Reads issues; what this process has written counts for some seconds, since reads lag."""

    def __init__(
        self, client: LinearClient, team: Team, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._team = team
        self._blockers = Blockers(client, now)
        self.picture = Picture[Issue](
            Lists(client, team, self._blockers, now), now, spacing=client.quotas.between_reads
        )

    def listed(self) -> list[Issue]:
        """The open issues of the team, as they were a moment ago, in the order of its board."""
        return sorted(self.picture.cards(), key=lambda issue: (issue.sort_order, issue.id))

    def issue(self, task_id: str) -> Issue:
        """Read one issue as it is now.

        Raises:
            TaskNotFoundError: there is none, or it was deleted.
            BoardAccessError: the key's user does not see the team any more.
        """
        return self._found(task_id, documents.ISSUE)[0]

    def whole(self, task_id: str) -> tuple[Issue, list[Comment]]:
        """Read one issue with all its comments, oldest first.

        Raises:
            TaskNotFoundError: there is none, or it was deleted.
        """
        issue, row = self._found(task_id, documents.WHOLE)
        first: Json = row["comments"]
        rows: list[Json] = list(first["nodes"])
        if first["pageInfo"]["hasNextPage"]:
            seen = {comment["id"] for comment in rows}
            path = ("issue", "comments")
            more = self._client.nodes(documents.COMMENTS, {"id": issue.id}, *path)
            rows += [comment for comment in more if comment["id"] not in seen]
        return issue, comments(rows)

    def written(self, payload: Json) -> Issue:
        """Take the issue from what a mutation answers: it is as it was written."""
        issue = read(payload["issue"])
        self.picture.wrote(issue)
        return issue

    def about(self, task_id: str) -> AbstractContextManager[None]:
        """Say why Linear does not find something of an issue: it, or the whole team."""
        return about(task_id, is_id, lambda: self._team.facts(anew=True))

    def _found(self, task_id: str, document: str) -> tuple[Issue, Json]:
        with self.about(task_id):
            row: Json = self._client.read(document, id=task_id)["issue"]
        issue = self._blockers.complete(read(row), row)
        own = self.picture.own(issue.id)
        return (own if own is not None and own.updated_at > issue.updated_at else issue), row


def read(row: Any) -> Issue:
    """Read one issue.

    Raises:
        BoardUnavailableError: it is none.
    """
    try:
        return parse(cast("Json", row))
    except (KeyError, TypeError, ValueError) as exc:
        raise BoardUnavailableError(f"An issue of Linear cannot be read: {exc!r}.") from exc


def _parsed(rows: Iterable[Json]) -> Iterable[tuple[Issue, Json]]:
    for row in rows:
        try:
            yield parse(row), row
        except (KeyError, TypeError, ValueError) as exc:
            pass_over("Linear", row, exc)
