"""Moves on Jira, which are transitions of a workflow, and the claim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskMovedError,
)
from athanore.queue_adapters.jira.issues import CLAIM, Issue
from athanore.queue_adapters.jira.project import Project
from athanore.queue_adapters.lost_answers import still_lost, written
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError, mapping

logger = logging.getLogger(__name__)

LEFT_BEHIND: Final = timedelta(minutes=1)
"""The age of a claim's property whose process did not live to remove it."""

LOOKS: Final = (0.3, 0.7, 1.5)
"""Seconds before each look whether another process has claimed the issue."""


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
        self._halfway: set[str] = set()

    def place(self, issue: Issue) -> str:
        """The queue of an issue: its status; the source, if a claim has left it on its way.

        From there the next claim takes it on. Nobody else would: the queue in between need not be
        watched, and a route that does watch it is not to have the issue.
        """
        here = self._status_of(issue)
        if issue.claim is not None:
            source, target = issue.claim
            if here != source and here in self._way_to(target):
                return source
        return here

    def _way_to(self, queue: str) -> set[str]:
        """The queues that an issue may be in on its way to another."""
        found: set[str] = set()
        while (queue := self._via.get(queue, "")) and queue not in found:
            found.add(queue)
        return found

    def move(self, issue: Issue, queue: str) -> Issue:
        """Take an issue to a queue, by one transition, or by two if `via` says which way.

        Raises:
            InvalidTaskError: no transition leads there, or one asks for values that are not set.
            TaskMovedError: somebody else has moved the issue meanwhile.
        """
        if issue.status in self._statuses(queue):
            return issue
        offered = self._offered(issue)
        step = self._find(offered, queue)
        between = self._via.get(queue)
        if step is None and between is not None and between != self._status_of(issue):
            issue = self._gone_to(issue, between)
            try:
                offered = self._offered(issue)
                return self._done(issue, self._found(issue, offered, queue), queue)
            except TaskMovedError:
                self._halfway.discard(issue.id)  # a person has taken it from there
                raise
            except (BoardUnavailableError, BoardAccessError) as exc:
                raise AnswerLostError(
                    f"Task {issue.id!r} is in {between!r}, on its way to {queue!r}: {exc}"
                ) from exc
        return self._done(issue, self._found(issue, offered, queue), queue)

    def _gone_to(self, issue: Issue, between: str) -> Issue:
        """Take the first of two steps; a claim that fails from then on is to be found again."""
        self._halfway.add(issue.id)
        try:
            return self.move(issue, between)
        except AnswerLostError:
            raise  # it may be there
        except BoardError:
            self._halfway.discard(issue.id)
            raise

    @contextmanager
    def alone(self, issue: Issue, queue: str) -> Generator[None]:
        """Keep other claims of an issue away, where the transition itself does not.

        A transition that is not global is offered from its own status only: of two, Jira refuses
        the second one. The property stays on an issue that is left between two steps: see `place`.

        Raises:
            TaskMovedError: another process has claimed the issue.
            BoardUnavailableError: another process has been at it for some seconds.
        """
        with self._lock:
            step = self._find(self._offered(issue), queue)
            guards = step is None or step.get("isGlobal") is not False
            if guards:
                self._take(issue, queue)
            try:
                yield
            except BaseException:
                is_between = self.place(issue) != self._status_of(issue)
                if guards and not is_between and issue.id not in self._halfway:
                    self._give_back(issue)
                raise
            if guards or issue.claim is not None:
                self._give_back(issue)

    def without_claim(self, issue: Issue) -> Issue:
        """Forget that a claim has left an issue on its way: it was moved since."""
        if issue.claim is not None:
            self._give_back(issue)
        return replace(issue, claim=None)

    def _take(self, issue: Issue, queue: str) -> None:
        if issue.claim is not None and issue.id in self._halfway:
            return  # the property is our own
        path = f"{self._project.of(issue.id)}/properties/{CLAIM}"
        for wait in (*LOOKS, None):
            if self._is_free(path):
                at = datetime.now(UTC).isoformat()
                value = {"at": at, "from": self.place(issue), "to": queue}
                try:
                    status, _ = self._project.client.write("PUT", path, value)
                except AnswerLostError as lost:  # which claims nothing yet
                    raise BoardUnavailableError(str(lost)) from lost
                if status == 201:
                    return
            self._check_unmoved(issue)
            if wait is not None:
                time.sleep(wait)
        raise BoardUnavailableError(
            f"Another process is claiming task {issue.id!r}: the property {CLAIM!r} is on the "
            "issue. It counts for a minute."
        )

    def _is_free(self, path: str) -> bool:
        try:
            said = mapping(self._project.client.get(path).get("value")).get("at")
            age = datetime.now(UTC) - datetime.fromisoformat(str(said))
        except MissingError:
            return True
        except ValueError:
            age = LEFT_BEHIND * 2
        if age > LEFT_BEHIND:
            self._project.client.write("DELETE", path)
            return True
        return False

    def _give_back(self, issue: Issue) -> None:
        self._halfway.discard(issue.id)
        path = f"{self._project.of(issue.id)}/properties/{CLAIM}"
        try:
            self._project.client.write("DELETE", path)
        except BoardError as exc:
            logger.info(
                "The property %r was not taken off task %r: %s",
                CLAIM,
                issue.id,
                exc,
                extra={"action": "jira_claim_left"},
            )

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

    def _done(self, issue: Issue, step: Json, queue: str) -> Issue:
        if asked := self._asked(step, queue):
            raise InvalidTaskError(
                f"Jira's transition {step.get('name')!r} of {issue.id} to {queue!r} asks for "
                f"{', '.join(map(repr, asked))}; set it: JiraBoard(fields={{{queue!r}: "
                f"{{{asked[0]!r}: ...}}}})."
            )
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
                with still_lost(lost):
                    if self._project.issue(issue.id).status == issue.status:
                        self._project.client.write("POST", path, body)
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
