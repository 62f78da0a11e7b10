"""Moves on Jira, which are transitions of a workflow, and the claim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskMovedError,
)
from athanore.queue_adapters.jira.claims import LOOKS, Claims, Turn, taken
from athanore.queue_adapters.jira.issues import Issue
from athanore.queue_adapters.jira.project import Project
from athanore.queue_adapters.lost_answers import still_lost, written
from athanore.queue_adapters.tracker.answers import Json, RefusedValueError, mapping

logger = logging.getLogger(__name__)


class Moves:
    """Takes issues from one status to another.

    Args:
        status_of: the status of an issue, as the project calls it.
        via: the queue on the way to another.
        fields: values that transitions to a queue ask for.
    """

    def __init__(
        self,
        project: Project,
        status_of: Callable[[Issue], str],
        via: Mapping[str, str],
        fields: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._project = project
        self._status_of = status_of
        self._via = via
        self._fields = fields
        self._lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._claims = Claims(project)

    def place(self, issue: Issue) -> str:
        """The queue of an issue: its status; the source, if a claim has left it on its way.

        From there the next claim takes it on. Nobody else would: a route that watches the queue in
        between is not to have the issue.
        """
        claim = issue.claim
        if claim is not None and claim.source is not None and self._is_on_its_way(issue):
            return claim.source
        return self._status_of(issue)

    def between(self) -> frozenset[str]:
        """The ids of the statuses in which a claim may leave an issue on its way."""
        return frozenset(one for queue in self._via.values() for one in self._statuses(queue))

    def tidy(self, issue: Issue) -> bool:
        """Remove the property of a claim that was left behind, where it means nothing any more.

        Else it would mean something again when a person puts the issue into a queue in between.
        True if that took a request.
        """
        claim = issue.claim
        if claim is None or self._is_on_its_way(issue):
            return False
        if claim.source == self._status_of(issue):
            return False  # the next claim takes it over
        return self._claims.tidy(issue)

    def _is_on_its_way(self, issue: Issue) -> bool:
        claim = issue.claim
        if claim is None or claim.target is None:
            return False
        here = self._status_of(issue)
        return here != claim.source and here in self._way_to(claim.target)[1:]

    def _way_to(self, queue: str) -> list[str]:
        """A queue, and those that lead to it; the last one is to be reached first."""
        way = [queue]
        while (queue := self._via.get(queue, "")) and queue not in way:
            way.append(queue)
        return way

    def move(self, issue: Issue, queue: str, turn: Turn | None = None) -> Issue:
        """Take an issue to a queue, by one transition, or by several if `via` says which way.

        Args:
            turn: the claim of which this is the move.

        Raises:
            InvalidTaskError: no transition leads there, or one asks for values that are not set.
            TaskMovedError: somebody else has moved the issue meanwhile.
            AnswerLostError: it may be there, or is on its way.
        """
        turn = turn or Turn(is_sure=True)
        way = self._way_to(queue)
        has_gone = False
        for _ in way:
            if issue.status in self._statuses(queue):
                break
            try:
                issue, reached = self._hop(issue, way, turn)
            except (BoardUnavailableError, BoardAccessError) as exc:
                if not has_gone:
                    raise
                raise AnswerLostError(
                    f"Task {issue.id!r} is in {issue.place!r}, on its way to {queue!r}: {exc}"
                ) from exc
            if reached == queue:
                break
            has_gone = True
        else:
            if issue.status not in self._statuses(queue):
                raise InvalidTaskError(
                    f"Task {issue.id!r} is in {issue.place!r}, and does not come to {queue!r}: "
                    "rules of Jira's move it away on its way."
                )
        return issue

    def _hop(self, issue: Issue, way: list[str], turn: Turn) -> tuple[Issue, str]:
        """Take an issue as far on its way as one transition leads, and tell where that is."""
        offered = self._offered(issue)
        here = self._status_of(issue)
        ahead = way[: way.index(here)] if here in way else way
        reached = next((q for q in ahead if self._find(offered, q) is not None), ahead[-1])
        step = self._found(issue, offered, reached)
        before = turn.is_between
        turn.is_between = before or reached != way[0]
        try:
            return self._done(issue, step, reached, turn), reached
        except AnswerLostError:
            raise  # it may be there
        except BoardError:
            turn.is_between = before
            raise

    @contextmanager
    def alone(self, issue: Issue, queue: str) -> Generator[Turn]:
        """Keep other claims of an issue away, where the transition itself does not.

        A transition that is not global is offered from its own status only: of two, Jira refuses
        the second one, unless it leads back to where it came from as well. An issue on its way may
        be that of a claim that is alive. The property stays on an issue that is left between two
        steps: see `place`.

        Raises:
            TaskMovedError: another process has claimed the issue.
            BoardUnavailableError: another process has been at it for some seconds.
        """
        with self._lock_of(issue):
            step = self._find(self._offered(issue), queue)
            source = self.place(issue)
            is_between = source != self._status_of(issue)
            turn = Turn()
            if is_between or step is None or _can_be_made_twice(step):
                ends = {"from": source, "to": queue} if step is None or is_between else {}
                turn = self._take(issue, ends)
            turn.is_between = is_between
            try:
                yield turn
            except BaseException as exc:
                # A person, or another process, may have taken it from there.
                if turn.is_between and not isinstance(exc, TaskMovedError):
                    self._claims.leave(issue.id, turn)
                elif turn.id is not None:
                    self._claims.give_back(issue.id, turn)
                raise
            if turn.id is not None or issue.claim is not None:
                self._claims.give_back(issue.id, turn)

    def _lock_of(self, issue: Issue) -> threading.Lock:
        """The lock of an issue, while somebody has it: claims of others are not to wait for one."""
        with self._lock:
            return self._locks.setdefault(issue.id, threading.Lock())

    def sure(self, issue: Issue, turn: Turn) -> Issue:
        """Read an issue again, in a claim that nobody else can have made together with this one.

        Raises:
            BoardUnavailableError: another process has the issue.
        """
        self._claims.settle(turn)
        now = self._project.issue(issue.id)
        self._claims.check(now, turn)
        return now

    def without_claim(self, issue: Issue) -> Issue:
        """Forget that a claim has left an issue on its way: it was moved since."""
        if issue.claim is not None:
            self._claims.remove(issue.id)
        return replace(issue, claim=None)

    def _take(self, issue: Issue, values: Json) -> Turn:
        for wait in (*LOOKS, None):
            if (turn := self._claims.take(issue, values)) is not None:
                return turn
            self._check_unmoved(issue)
            if wait is not None:
                time.sleep(wait)
        raise taken(issue.id)

    def _check_unmoved(self, issue: Issue) -> None:
        """Raise `TaskMovedError` if somebody else has moved an issue since it was read."""
        now = self._project.issue(issue.id)
        if now.status != issue.status:
            raise TaskMovedError(issue.id, expected=issue.place, actual=self.place(now))

    def _offered(self, issue: Issue) -> list[Json]:
        path = f"{self._project.of(issue.id)}/transitions"
        with self._project.about(issue.id):
            answer = self._project.client.get(path, {"expand": "transitions.fields"})
        return answer["transitions"]

    def _statuses(self, queue: str) -> frozenset[str]:
        return self._project.statuses().get(queue, frozenset())

    def _find(self, offered: list[Json], queue: str) -> Json | None:
        """The transition whose target is the queue; the one that asks for least."""
        fits = [one for one in offered if str(one["to"]["id"]) in self._statuses(queue)]
        return min(fits, key=lambda one: len(self._asked(one, queue)), default=None)

    def _found(self, issue: Issue, offered: list[Json], queue: str) -> Json:
        step = self._find(offered, queue)
        if step is None:
            self._check_unmoved(issue)
            reachable = sorted({str(one["to"]["name"]) for one in offered})
            raise InvalidTaskError(
                f"Jira's workflow has no transition that takes {issue.id} from {issue.place!r} to "
                f"{queue!r}; from there it goes to {', '.join(map(repr, reachable)) or 'nothing'}. "
                f"Name the queue in between, JiraBoard(via={{{queue!r}: ...}}), or add a "
                "transition."
            )
        return step

    def _asked(self, step: Json, queue: str) -> list[str]:
        """The fields that a transition asks for, without those that are set or have a default."""
        fields = mapping(step.get("fields"))
        return [
            name
            for name, field in fields.items()
            if field.get("required")
            and not field.get("hasDefaultValue")
            and name not in self._fields.get(queue, {})
        ]

    def _done(self, issue: Issue, step: Json, queue: str, turn: Turn) -> Issue:
        if asked := self._asked(step, queue):
            raise InvalidTaskError(
                f"Jira's transition {step.get('name')!r} of {issue.id} to {queue!r} asks for "
                f"{', '.join(map(repr, asked))}; set it: JiraBoard(fields={{{queue!r}: "
                f"{{{asked[0]!r}: ...}}}})."
            )
        if turn.is_over:
            raise taken(issue.id)
        on_screen = mapping(step.get("fields"))
        values = {k: v for k, v in self._fields.get(queue, {}).items() if k in on_screen}
        body: Json = {"transition": {"id": str(step["id"])}}
        if values:
            body["fields"] = values
        path = f"{self._project.of(issue.id)}/transitions"
        with self._project.about(issue.id):
            try:
                self._project.client.write("POST", path, body)
            except AnswerLostError as lost:
                self._look_after(lost, issue, queue, turn, path, body)
            except RefusedValueError:
                self._check_unmoved(issue)
                raise
        with written(f"Task {issue.id!r} was moved to {queue!r}"):
            now = self._project.issue(issue.id)
            is_there = now.status in self._statuses(queue)
        if not is_there:
            logger.warning(
                "Task %r is in %r, and not in %r, after its transition %r: a rule of Jira's has "
                "moved it on.",
                issue.id,
                now.place,
                queue,
                step.get("name"),
                extra={"action": "jira_moved_on"},
            )
        return now

    def _look_after(
        self, lost: AnswerLostError, issue: Issue, queue: str, turn: Turn, path: str, body: Json
    ) -> None:
        """See what became of a transition whose answer was lost, and make it if it is not made.

        Raises:
            TaskMovedError: the issue is somewhere else; somebody has moved it there.
            AnswerLostError: it is there, and nobody can tell by whose transition.
        """
        with still_lost(lost):
            now = self._project.issue(issue.id)
            if now.status == issue.status:
                self._project.client.write("POST", path, body)
                return
            is_there, place = now.status in self._statuses(queue), self.place(now)
        if not is_there:
            raise TaskMovedError(issue.id, expected=issue.place, actual=place)
        if not turn.is_sure:
            raise lost


def _can_be_made_twice(step: Json) -> bool:
    """Whether a transition may be offered in its own target, where a second claim would find it."""
    return step.get("isGlobal") is not False or step.get("looped") is True
