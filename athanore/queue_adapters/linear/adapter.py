"""The eleven methods of `QueueAdapter` on the issues of a team in Linear, and the claim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

from cachetools import LRUCache

from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    ConfigurationError,
    InvalidTaskError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import BoardIdentity, Comment, Quota, Task
from athanore.queue_adapters.linear import documents
from athanore.queue_adapters.linear.account import secret_variables
from athanore.queue_adapters.linear.client import LinearClient
from athanore.queue_adapters.linear.issues import TEXTS, Issue, is_id, is_identifier, title_of
from athanore.queue_adapters.linear.queues import LinearQueues
from athanore.queue_adapters.linear.reading import Issues
from athanore.queue_adapters.linear.team import Person, Team
from athanore.queue_adapters.linear.webhook import Deliveries
from athanore.queue_adapters.lost_answers import still_lost, written
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.queue_adapters.tracker.checks import check_comment, check_name
from athanore.queue_adapters.tracker.looking import Writes

ELSEWHERE: Final = "(another team)"
ARCHIVED: Final = "(archived)"
"""Where an issue is that has left the board, for messages and states."""

CLAIM_SETTLES: Final = 0.5
"""Seconds in which a claim of another process arrives that had read the issue with ours."""

_NOBODY: Final = "00000000-0000-4000-8000-000000000000"


class LinearAdapter(LinearQueues):
    """One team as a board; made by `LinearBoard`.

    A poll costs one request, shared with all that ask within 1.5 seconds.
    """

    def __init__(
        self,
        client: LinearClient,
        team: str,
        *,
        assigns: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        known = Team(client, team)
        super().__init__(client, known, Issues(client, known, now))
        self._assigns = assigns
        self._deliveries = Deliveries()
        self._claims = threading.Lock()
        self._places = threading.Lock()
        self._last_place = 0.0
        self._own_comments: LRUCache[str, bool] = LRUCache(1_000)
        self._writes = Writes()

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    # --- who we are ---

    def quotas(self) -> Sequence[Quota]:
        """What is left of the requests, and of their complexity, an hour."""
        return self._client.quotas.known()

    @property
    def vouches_for_authors(self) -> bool:
        """Linear says of each author whether it is a person of the workspace."""
        return True

    @property
    def user(self) -> str | None:
        """The display name of the key's user, if claims assign it."""
        return self._team.facts().me.name if self._assigns else None

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's key; another key is the agents' own."""
        return secret_variables(self._client.token)

    @property
    def secrets(self) -> frozenset[str]:
        """The key, also one that was given in the code."""
        return frozenset({self._client.token})

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the team can be seen, its issues be written, and its states be there.

        Nothing is changed: the write that is tried is of an issue that nobody has.

        Raises:
            BoardAccessError: the key, or its user, may not see or change the team's issues.
            ConfigurationError: a state is missing.
        """
        facts = self._team.facts(anew=True)
        try:
            self._client.write(documents.MAY_WRITE, id=_NOBODY)
        except (MissingError, RefusedValueError):
            pass
        except AnswerLostError as exc:
            raise BoardUnavailableError(str(exc)) from exc
        if missing := [name for name in queue_names if facts.named(name) is None]:
            there = ", ".join(repr(state.name) for state in facts.states)
            noun = "state" if len(missing) == 1 else "states"
            raise ConfigurationError(
                f"Linear's team {facts.key} has no {noun} {', '.join(map(repr, missing))}; make "
                f"the {noun} in Linear (Settings, Teams, {facts.key}, Issue statuses & "
                f"automations), or name others in the routes. There are: {there}."
            )

    def board_identity(self) -> BoardIdentity:
        """Tell the board by the team's id, which stays when its key is changed."""
        facts = self._team.facts()
        return BoardIdentity((f"linear:{facts.id}",), f"Linear's team {facts.key}")

    def id_of(self, text: str) -> str:
        """The id of the issue that people call `ENG-12`; any other text as it is."""
        return self._issues.issue(text).id if is_identifier(text) else text

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the queues, with checklists and without comments."""
        if not queue_names:
            return []
        states = [self._team.state(name) for name in queue_names]
        by_state: dict[str, list[Task]] = {state.id: [] for state in states}
        names = {state.id: state.name for state in states}
        for issue in self._issues.listed():
            if issue.state in by_state:
                labels = self._team.labels(issue.label_ids)
                by_state[issue.state].append(issue.task(names[issue.state], labels))
        return [task for state in states for task in by_state[state.id]]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now; also one that is closed, or of another team."""
        return self._task(*self._issues.whole(task_id))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Set an issue's state, and put it at the end of that."""
        state = self._team.state(target_queue)
        issue = self._on_the_board(task_id)
        if issue.state != state.id:
            self._set(issue, {"stateId": state.id, "sortOrder": self._end()})

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment, whose id we choose: sent twice it is there once.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        check_comment(task_id, text)
        if not is_id(task_id):
            raise TaskNotFoundError(task_id)
        values = {
            "issueId": self._issues.issue(task_id).id if is_identifier(task_id) else task_id,
            "body": TEXTS.body(text),
            "doNotSubscribeToIssue": True,
        }

        def send(comment_id: str) -> None:
            self._own_comments[comment_id] = True
            try:
                self._client.write(documents.ADD_COMMENT, input={"id": comment_id, **values})
            except InvalidTaskError:
                # It may be the second sending of a comment that has arrived meanwhile.
                if not self._comment_is_there(comment_id):
                    raise

        with self._issues.about(task_id):
            self._writes.comment(task_id, text, lambda: str(uuid4()), send, self._comment_is_there)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields, in one step. A label that does not exist is made for the team."""
        if name is not None:
            check_name(name)
        issue, comments = self._issues.whole(task_id)
        values: Json = {}
        if name is not None:
            values["title"] = title_of(name, issue.identifier)
        if description is not None:
            values["description"] = TEXTS.body(description)
        if labels is not None:
            wanted = [self._team.label_id(label) for label in dict.fromkeys(labels)]
            values["addedLabelIds"] = [i for i in wanted if i not in issue.label_ids]
            values["removedLabelIds"] = [i for i in issue.label_ids if i not in wanted]
        if assignees is not None:
            values |= self._assignment(assignees)
        return self._task(self._set(issue, values) if values else issue, comments)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue at the end of a state; its id is ours, so that it is made once."""
        check_name(name)
        state = self._team.state(queue_name)
        values: Json = {
            "teamId": self._team.facts().id,
            "stateId": state.id,
            "title": TEXTS.title(name),
            "description": TEXTS.body(description),
            "sortOrder": self._end(),
            "preserveSortOrderOnCreate": True,
        }

        def send(issue_id: str) -> Issue:
            input_ = {"id": issue_id, **values}
            try:
                return self._issues.written(self._client.write(documents.CREATE, input=input_))
            except InvalidTaskError:
                # It may be the second sending of an issue that has arrived meanwhile.
                if (issue := self._created(issue_id)) is None:
                    raise
                return issue

        words = (queue_name, name, description)
        issue = self._writes.task(*words, lambda: str(uuid4()), send, self._created)
        self._issues.picture.wrote(issue)
        return self._task(issue, ())

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Check that an issue is in its source state, and set state and assignee in one step.

        Linear changes nothing on a condition. Of claims of this process exactly one wins. Between
        processes the later write does: each writes a place of its own with the state, and looks
        half a second later whether it is still there. What remains is another's claim that arrives
        even later, and a person's move between our look and our write, some tenths of a second.
        """
        target = self._team.state(target_queue)
        source = self._team.state(source_queue)
        with self._claims:
            issue, comments = self._issues.whole(task_id)
            if self._place(issue) != source.name:
                raise TaskMovedError(task_id, expected=source_queue, actual=self._place(issue))
            values: Json = {"stateId": target.id, "sortOrder": self._end()}
            if assignee and not issue.assignees:
                values |= self._assignment([assignee])
            answer: Json = {}
            now: Issue | None = None
            try:
                with self._issues.about(task_id):
                    answer = self._client.write(documents.UPDATE, id=issue.id, input=values)
            except AnswerLostError as lost:
                now = self._now(issue, lost)
                if now.sort_order != values["sortOrder"]:
                    if now.state == source.id:
                        raise BoardUnavailableError(str(lost)) from lost
                    raise
            with written(f"Task {task_id!r} was claimed"):
                claimed = now or self._issues.written(answer)
                self._settle(claimed, source_queue)
                return self._task(claimed, comments)

    # --- webhooks ---

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]:
        """Return which of the queues an event of issues, comments or labels may have changed.

        What this process has just done itself is no change. It is told by what was written, not by
        who: the key may be a person's, who works on the board as well.
        """
        facts = self._team.facts()
        delivery = self._deliveries.read(headers, body, secret, facts.id)
        if delivery is None or self._is_own(delivery.kind, delivery.issue, delivery.data):
            return []
        states = delivery.states
        with self._deliveries.acting(headers):
            if delivery.kind == "IssueLabel":
                self._team.facts(anew=True)
            if states is None and delivery.issue is not None:
                here = (one.state for one in self._issues.listed() if one.id == delivery.issue)
                states = frozenset(here) or None
            self._issues.picture.expire()
        if states is None:
            return list(queue_names)
        named = {state.name for state in facts.states if state.id in states}
        return [name for name in queue_names if name in named]

    def forget_picture(self) -> None:
        """Have the next poll ask what has changed."""
        self._issues.picture.expire()

    # --- helpers ---

    def _is_own(self, kind: str, issue_id: str | None, data: Json) -> bool:
        if kind == "Comment":
            return str(data.get("id")) in self._own_comments
        own = self._issues.picture.own(issue_id or "")
        # Linear writes texts in its own way, and tells the issue's times as it tells them to us.
        return own is not None and own.updated_at >= str(data.get("updatedAt") or "~")

    def _task(self, issue: Issue, comments: Sequence[Comment]) -> Task:
        return issue.task(self._place(issue), self._team.labels(issue.label_ids), comments)

    def _place(self, issue: Issue) -> str:
        """Where an issue is: its queue, or that it has left the board."""
        state = self._team.facts().state(issue.state)
        if not issue.is_kept:
            return ARCHIVED
        if issue.team != self._team.facts().id:
            return ELSEWHERE
        if state is None:
            state = self._team.facts(anew=True).state(issue.state)
        return state.name if state is not None else ELSEWHERE

    def _on_the_board(self, task_id: str) -> Issue:
        issue = self._issues.issue(task_id)
        if issue.team != self._team.facts().id:
            raise TaskNotFoundError(task_id)
        return issue

    def _set(self, issue: Issue, values: Json) -> Issue:
        """Change an issue, once more if the answer was lost and a look tells that it is not."""
        write = lambda: self._client.write(documents.UPDATE, id=issue.id, input=values)  # noqa: E731
        try:
            with self._issues.about(issue.id):
                return self._issues.written(write())
        except AnswerLostError as lost:
            now = self._now(issue, lost)
            if "sortOrder" in values and now.sort_order == values["sortOrder"]:
                self._issues.picture.wrote(now)
                return now
            with still_lost(lost):
                return self._issues.written(write())  # the same values again do no harm

    def _now(self, issue: Issue, lost: AnswerLostError) -> Issue:
        """The issue after a write whose answer was lost; the loss, if it cannot be read."""
        with still_lost(lost):
            return self._issues.issue(issue.id)

    def _settle(self, claimed: Issue, source_queue: str) -> None:
        """See that no claim of another process came right after ours.

        Raises:
            TaskMovedError: one did; the issue is the other's.
        """
        time.sleep(CLAIM_SETTLES)
        try:
            now = self._issues.issue(claimed.id)
        except BoardUnavailableError:
            return  # the claim is made, and most likely ours
        if now.updated_at > claimed.updated_at and now.sort_order != claimed.sort_order:
            self._issues.picture.wrote(now)
            raise TaskMovedError(claimed.id, expected=source_queue, actual=self._place(now))

    def _created(self, issue_id: str) -> Issue | None:
        try:
            return self._issues.issue(issue_id)
        except TaskNotFoundError:
            return None

    def _comment_is_there(self, comment_id: str) -> bool | None:
        try:
            self._client.read(documents.COMMENT, id=comment_id)
        except MissingError:
            return None
        return True

    def _assignment(self, names: Sequence[str]) -> Json:
        """What to write to have just these people on an issue: an assignee, and an app."""
        people = [self._team.person(name) for name in dict.fromkeys(names)]
        users = [person for person in people if not person.is_app]
        apps = [person for person in people if person.is_app]
        for kind, found in (("assignee", users), ("delegate", apps)):
            if len(found) > 1:
                called = ", ".join(repr(person.name) for person in found)
                raise InvalidTaskError(f"An issue of Linear has one {kind}; these are {called}.")
        first: Callable[[list[Person]], str | None] = lambda found: found[0].id if found else None  # noqa: E731
        return {"assigneeId": first(users), "delegateId": first(apps)}

    def _end(self) -> float:
        """A place after all that are there: the time, which grows for everybody alike."""
        with self._places:
            self._last_place = max(time.time(), self._last_place + 0.001)
            return self._last_place
