"""Changing an issue's queue: one label of the board in place of another, and the claim."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from athanore.errors import AnswerLostError, BoardError, BoardUnavailableError, TaskMovedError
from athanore.models import Comment
from athanore.queue_adapters.github.issues import Issue
from athanore.queue_adapters.github.relations import Related, Relations
from athanore.queue_adapters.github.repository import Repository
from athanore.queue_adapters.lost_answers import still_lost
from athanore.queue_adapters.tracker.labels import Labels

logger = logging.getLogger(__name__)


class Moves:
    """What is done with the labels of issues that are queues; `place` tells where an issue is."""

    def __init__(
        self,
        repository: Repository,
        relations: Relations,
        labels: Labels,
        place: Callable[[Issue], str],
    ) -> None:
        self._repository = repository
        self._relations = relations
        self._labels = labels
        self._place = place
        self._claims = threading.Lock()

    def swapped(self, issue: Issue, label: str) -> Issue:
        """See that of the board's labels an issue has this one, and no other.

        The new label comes before the old one goes: an issue is never without.
        """
        if not issue.has_label(label):
            issue = self._repository.add_labels(issue, [label])
        for other in self._labels.of_queues(issue.labels):
            if other.lower() != label.lower():
                issue = self._repository.drop_label(issue, other)
        return issue

    def claim(
        self, task_id: str, source_queue: str, source: str, target: str, assignee: str | None
    ) -> tuple[Issue, Sequence[Comment], Related]:
        """Check that an issue has its source label, swap that for the target's, and assign it.

        GitHub has no compare-and-set. Between claims of this process exactly one wins. Between
        processes the removal of the source label decides: GitHub answers 404 to the second one.
        What remains is a person who takes exactly this label off, or closes the issue, between our
        look and the removal, some tenths of a second later.

        Args:
            source: the label of `source_queue`.
            target: the label of the queue of tasks in progress.

        Raises:
            TaskMovedError: the issue is closed, or in another queue.
            AnswerLostError: the answer to the removal was lost, and the label is gone.
        """
        with self._claims:
            issue = self._repository.issue(task_id)
            actual = self._place(issue)
            if actual != source_queue:
                raise TaskMovedError(task_id, expected=source_queue, actual=actual)
            comments = self._repository.comments(issue)  # after the writes nothing may fail
            related = self._relations.of(issue)
            both = issue
            if not issue.has_label(target):
                both = self._repository.add_labels(issue, [target])
            claimed = self._taken(issue, both, source, source_queue, target)
            self._repository.picture.wrote(claimed)
            claimed = self._tidied(claimed, target, assignee)
            self._repository.picture.wrote(claimed)
            return claimed, comments, related

    def _taken(
        self, before: Issue, both: Issue, source: str, source_queue: str, target: str
    ) -> Issue:
        """Take the source label off, which only one of all who try is told was there."""
        try:
            claimed = self._repository.remove_label(both, source)
        except AnswerLostError as lost:
            with still_lost(lost):
                now = self._repository.issue(before.id)
            if not now.has_label(source):
                raise
            self._give_way(before, now, target)
            raise BoardUnavailableError(str(lost)) from lost
        if claimed is not None:
            return claimed
        now = self._give_way(before, self._repository.issue(before.id), target)
        raise TaskMovedError(before.id, expected=source_queue, actual=self._place(now))

    def _give_way(self, before: Issue, now: Issue, target: str) -> Issue:
        """Take our target label off again if a person has given the issue another one meanwhile.

        Where it is the only one, another process has claimed the issue, and wants it there.
        """
        others = [
            label for label in self._labels.of_queues(now.labels) if label.lower() != target.lower()
        ]
        if others and not before.has_label(target) and now.has_label(target):
            return self._repository.drop_label(now, target)
        return now

    def _tidied(self, issue: Issue, target: str, assignee: str | None) -> Issue:
        """Finish a claim that is made: what fails here is said, and does not undo it."""
        try:
            issue = self.swapped(issue, target)
            if assignee and assignee.lower() not in (a.lower() for a in issue.assignees):
                issue = self._repository.assign(issue, [assignee])
        except BoardError as exc:
            logger.warning(
                "Task %r is claimed; %r was not assigned: %s",
                issue.id,
                assignee,
                exc,
                extra={"action": "assignee_refused"},
            )
        return issue
