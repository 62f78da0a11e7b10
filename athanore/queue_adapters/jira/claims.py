"""Claims on Jira that no transition keeps apart: a property of the issue says whose it is.

Jira writes a property on no condition. Whoever finds none, or one that was left behind, writes its
own, waits a moment, and looks whether it is still there: of several the last to write it has the
issue. The property is removed only by its owner, in good time, so that it is never another's.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import uuid4

from cachetools import LRUCache

from athanore.errors import AnswerLostError, BoardError, BoardUnavailableError
from athanore.queue_adapters.jira.issues import CLAIM, Claim, Issue, claim_of
from athanore.queue_adapters.jira.project import Project
from athanore.queue_adapters.tracker.answers import Json, MissingError

logger = logging.getLogger(__name__)

LEFT_BEHIND: Final = timedelta(minutes=1)
"""The age of a property whose process did not live to remove it."""

LEASE: Final = 40.0
"""Seconds in which a claim has to be made, so that nobody takes its property as left behind."""

SETTLES: Final = 0.5
"""Seconds in which the property of another process arrives that had looked when we did."""

SLOWER: Final = 3
"""How many times as long as our own look and write took that is at least."""

LOOKS: Final = (0.3, 0.7, 1.5)
"""Seconds before each look whether another process has claimed the issue."""

_REMEMBERED: Final = 1_000


@dataclass
class Turn:
    """A claim under way.

    Attributes:
        id: of its property; None where the transition itself keeps others away.
        is_sure: whether no other process moves the issue meanwhile, as far as its property says.
        is_between: whether the issue may be on its way, between two steps.
        began: when its property was written; in seconds of `time.monotonic`.
        settled: when no other's can arrive any more.
    """

    id: str | None = None
    is_sure: bool = False
    is_between: bool = False
    began: float = 0.0
    settled: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has taken so long that another may take the property as left behind."""
        return self.id is not None and time.monotonic() - self.began > LEASE


class Claims:
    """The properties by which processes keep claims apart; of one issue one claim at a time."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._left: LRUCache[str, str] = LRUCache(_REMEMBERED)  # by issue, of our ended claims
        self._tidied: LRUCache[tuple[str, str], bool] = LRUCache(_REMEMBERED)

    def take(self, issue: Issue, values: Json) -> Turn | None:
        """Write the property if no other process has; None if one has.

        Args:
            values: what else the property shall say.
        """
        path = self._path(issue.id)
        looked = time.monotonic()
        found = self._read(path)
        if found is not None and not self._may_replace(issue.id, found):
            return None
        mine = uuid4().hex
        value = {"id": mine, "at": self._project.client.now().isoformat(), **values}
        try:
            self._project.client.write("PUT", path, value)
        except AnswerLostError as lost:  # which claims nothing yet
            raise BoardUnavailableError(str(lost)) from lost
        now = time.monotonic()
        settles = max(SETTLES, SLOWER * (now - looked))
        return Turn(mine, began=looked, settled=now + settles)

    def settle(self, turn: Turn) -> None:
        """Wait until no property of another process can come any more over ours."""
        time.sleep(max(turn.settled - time.monotonic(), 0))

    def check(self, issue: Issue, turn: Turn) -> None:
        """Make sure of the property, which an issue that was read after `settle` tells.

        Raises:
            BoardUnavailableError: it is another's.
        """
        if turn.id is not None and (issue.claim is None or issue.claim.id != turn.id):
            raise taken(issue.id)
        turn.is_sure = turn.id is not None

    def give_back(self, issue_id: str, turn: Turn) -> None:
        """Remove our property; one that stays is in nobody's way after a minute."""
        path = self._path(issue_id)
        try:
            if turn.is_over:
                raise BoardUnavailableError("the claim has taken too long.")
            if turn.id is not None and not turn.is_sure:
                found = self._read(path)
                if found is None or found.id != turn.id:
                    return
            self._project.client.write("DELETE", path)
        except MissingError:
            pass
        except BoardError as exc:
            self.leave(issue_id, turn)
            _tell(issue_id, exc)
        else:
            with self._lock:
                self._left.pop(issue_id, None)

    def leave(self, issue_id: str, turn: Turn) -> None:
        """Remember that a property is of a claim of ours that has ended."""
        if turn.id is not None:
            with self._lock:
                self._left[issue_id] = turn.id

    def tidy(self, issue: Issue) -> bool:
        """Remove a property that was left behind, and means nothing; True if Jira was asked.

        That is done once for each, whatever comes of it, unless Jira is away.
        """
        claim = issue.claim
        if claim is None or not claim.is_older(LEFT_BEHIND, self._project.client.now()):
            return False
        with self._lock:
            if (issue.id, claim.id) in self._tidied:
                return False
        path = self._path(issue.id)
        try:
            if self._read(path) == claim:  # the issue may have been read some time ago
                self._project.client.write("DELETE", path)
        except (BoardUnavailableError, AnswerLostError) as exc:
            _tell(issue.id, exc)
            return True
        except MissingError:
            pass
        except BoardError as exc:
            _tell(issue.id, exc)
        with self._lock:
            self._tidied[issue.id, claim.id] = True
        return True

    def remove(self, issue_id: str) -> None:
        """Remove the property of whoever, because the issue was moved by us."""
        self.give_back(issue_id, Turn())

    def _path(self, issue_id: str) -> str:
        return f"{self._project.of(issue_id)}/properties/{CLAIM}"

    def _read(self, path: str) -> Claim | None:
        try:
            return claim_of(self._project.client.get(path).get("value") or {})
        except MissingError:
            return None

    def _may_replace(self, issue_id: str, claim: Claim) -> bool:
        with self._lock:
            is_ours = claim.id != "" and self._left.get(issue_id) == claim.id
        return is_ours or claim.is_older(LEFT_BEHIND, self._project.client.now())


def taken(issue_id: str) -> BoardUnavailableError:
    """The error of a claim that another process is making."""
    return BoardUnavailableError(
        f"Another process is claiming task {issue_id!r}: the property {CLAIM!r} is on the issue. "
        "It counts for a minute."
    )


def _tell(issue_id: str, error: BoardError) -> None:
    logger.info(
        "The property %r was not taken off task %r: %s",
        CLAIM,
        issue_id,
        error,
        extra={"action": "jira_claim_left"},
    )
