"""What issues have to do with each other: which block one, and which are a part of one.

The lists of REST only tell how many there are, which costs nothing. Who they are is asked in
GraphQL, for up to 100 issues in one request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Final, cast

from cachetools import LRUCache, TTLCache

from athanore.models import ChecklistItem
from athanore.queue_adapters.github.graphql import GitHubGraphQL
from athanore.queue_adapters.github.issues import Issue
from athanore.queue_adapters.tracker.answers import Json, MissingError, mapping

logger = logging.getLogger(__name__)

REMEMBERED: Final = 600.0
"""Seconds for which is known who blocks an issue of which nothing has changed."""

_AT_ONCE: Final = 100
"""Issues in one request: what GitHub gives of a list at most."""

_BLOCKER: Final = "nodes { number state repository { nameWithOwner } }"

BLOCKED_BY: Final = f"blockedBy(first: 20) {{ {_BLOCKER} pageInfo {{ hasNextPage }} }}"
"""Of an issue with an `id`; see `Blockers` for what does not fit."""

SUB_ISSUES: Final = (
    "subIssues(first: 100) { nodes { number title state repository { nameWithOwner } } }"
)

HIDDEN: Final = ("NOT_FOUND", "FORBIDDEN")
"""What GitHub says of an issue that was deleted meanwhile, or that the token may not see."""

_BLOCKERS: Final = f"""
query Blockers($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on Issue {{ id url {BLOCKED_BY} }} }}
}}"""

_RELATIONS: Final = f"""
query Relations($id: ID!) {{
  node(id: $id) {{ ... on Issue {{ id url {BLOCKED_BY} {SUB_ISSUES} }} }}
}}"""

_ALL: Final = f"""
query AllBlockers($id: ID!, $after: String) {{
  node(id: $id) {{ ... on Issue {{ blockedBy(first: 100, after: $after) {{
    {_BLOCKER} pageInfo {{ hasNextPage endCursor }} }} }} }}
}}"""

_ALL_REMEMBERED: Final = 60.0
"""Seconds for which is known who blocks an issue that is blocked by many."""


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An issue, by its repository as `owner/name`, and its number there."""

    repository: str
    number: int

    def __str__(self) -> str:
        return f"{self.repository}#{self.number}"


@dataclass(frozen=True, slots=True)
class Related:
    """What one issue has to do with others: open ones that block it, and its parts."""

    blockers: tuple[Reference, ...] = ()
    parts: tuple[ChecklistItem, ...] = ()


class Blockers:
    """Tells who blocks an issue, also where only closed ones of many fit the answer about it."""

    def __init__(self, graphql: GitHubGraphQL, now: Callable[[], float] = time.monotonic) -> None:
        self._graphql = graphql
        self._known: TTLCache[str, tuple[Reference, ...]] = TTLCache(1_000, _ALL_REMEMBERED, now)

    def of(self, row: Json) -> tuple[Reference, ...]:
        """The open issues that block one, of which `BLOCKED_BY` was asked."""
        found = blockers_in(row)
        page = mapping(mapping(row.get("blockedBy")).get("pageInfo"))
        if found or not page.get("hasNextPage"):
            return found
        node = str(row["id"])
        known = self._known.get(node)
        if known is None:
            path = ("node", "blockedBy")
            rows = self._graphql.nodes(_ALL, {"id": node}, path, passing_over=HIDDEN)
            try:
                known = self._known[node] = tuple(_open(rows))
            except MissingError:  # it was deleted meanwhile
                return found
        return known


class Relations:
    """Reads who the related issues are; safe to use from many threads.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, graphql: GitHubGraphQL, now: Callable[[], float] = time.monotonic) -> None:
        self._graphql = graphql
        # By what would be another with another blocker, as far as the lists tell.
        self._known: TTLCache[tuple[str, str, int], tuple[Reference, ...]] = TTLCache(
            10_000, REMEMBERED, now
        )

        self._blockers = Blockers(graphql, now)
        self._told = told_hidden()
        self.quotas = graphql.quotas
        self.close = graphql.close

    def blockers(self, issues: Iterable[Issue]) -> Mapping[str, Sequence[Reference]]:
        """The open issues that block some issues, by the id of the blocked one for GraphQL."""
        keys = {issue.node_id: _key(issue) for issue in issues if issue.blocked_by}
        known = {node: self._known.get(key) for node, key in keys.items()}
        found = {node: blockers for node, blockers in known.items() if blockers is not None}
        for some in batched((n for n in keys if n not in found), _AT_ONCE, strict=False):
            told = self._graphql.read(_BLOCKERS, {"ids": some}, passing_over=HIDDEN)
            for row in told["nodes"]:
                if row:
                    tell_hidden(row, self._told)
                    blockers = self._known[keys[row["id"]]] = self._blockers.of(row)
                    found[row["id"]] = blockers
        return found

    def of(self, issue: Issue) -> Related:
        """What an issue has to do with others, as it is now."""
        if not (issue.blocked_by or issue.parts):
            return Related()
        told = self._graphql.read(_RELATIONS, {"id": issue.node_id}, passing_over=HIDDEN)
        row: Json = told["node"] or {}
        tell_hidden(row, self._told)
        return Related(self._blockers.of(row), parts_in(row))


def told_hidden() -> LRUCache[str, bool]:
    """The issues of which `tell_hidden` has told."""
    return LRUCache(1_000)


def tell_hidden(row: Json, told: LRUCache[str, bool]) -> None:
    """Say once of an issue that what blocks it is hidden from the token, and not waited for."""
    nodes = cast("list[Json | None]", mapping(row.get("blockedBy")).get("nodes") or [])
    address = str(row.get("url"))
    if None not in nodes or address in told:
        return
    told[address] = True
    logger.warning(
        "An issue that blocks %s cannot be seen with the board's token: it is not waited for. Let "
        "the token's account read it, or hold the task in another way.",
        address,
        extra={"action": "blocker_hidden"},
    )


def blockers_in(row: Json) -> tuple[Reference, ...]:
    """The open issues that block one, of those that fit the answer about it."""
    return tuple(_open(_nodes(row, "blockedBy")))


def _open(rows: Iterable[Json]) -> Iterator[Reference]:
    return (_reference(other) for other in rows if other["state"] == "OPEN")


def parts_in(row: Json) -> tuple[ChecklistItem, ...]:
    """The sub-issues of one, as a checklist."""
    return tuple(
        ChecklistItem(str(part["title"]), part["state"] != "OPEN", str(_reference(part)))
        for part in _nodes(row, "subIssues")
    )


def _nodes(row: Json, name: str) -> list[Json]:
    """What is in a connection; what is hidden from the token is None there."""
    nodes = cast("list[Json | None]", mapping(row.get(name)).get("nodes") or [])
    return [node for node in nodes if node]


def _reference(row: Json) -> Reference:
    return Reference(str(row["repository"]["nameWithOwner"]), int(row["number"]))


def _key(issue: Issue) -> tuple[str, str, int]:
    return issue.node_id, issue.updated_at, issue.blocked_by
