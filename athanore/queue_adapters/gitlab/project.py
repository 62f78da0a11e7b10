"""One project's issues: read fresh, and changed with a look before anything is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardUnavailableError,
    InvalidTaskError,
)
from athanore.http_client.cache import Cache
from athanore.models import Comment
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.gitlab.issues import Issue, author_id, comment, is_id, parse
from athanore.queue_adapters.gitlab.listing import Issues, LabelNames
from athanore.queue_adapters.gitlab.texts import TEXTS
from athanore.queue_adapters.lost_answers import still_lost, written
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.queue_adapters.tracker.authors import Authors
from athanore.queue_adapters.tracker.checks import about
from athanore.queue_adapters.tracker.label_board import LabelTakenError
from athanore.queue_adapters.tracker.looking import Writes
from athanore.queue_adapters.tracker.picture import Picture
from athanore.queue_adapters.tracker.texts import new_mark

_COLOUR: Final = "#0e8a16"

PLANNER: Final = 15
"""GitLab's number of the lowest role that may label and assign issues."""


class Project:
    """The issues and labels of one project, and what is done with them.

    Args:
        name: as `group/project`, or its number.
        board: the issue board whose lists are queues; None where other labels are.
    """

    def __init__(
        self,
        client: GitLabClient,
        name: str,
        board: str | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.path = f"projects/{quote(name, safe='')}"
        self.client = client
        self.picture = Picture(Issues(client, self.path), now, spacing=client.quotas.between_reads)
        self.labels = LabelNames(client, self.path, board)
        self._board = board
        self._users = Cache(self._user, timedelta(hours=1))
        self._own_number = Cache(self._load_own, timedelta(days=365))
        self._authors = Authors(self._may_write)
        self._writes = Writes()

    # --- reading ---

    def row(self) -> Json:
        """Read the project itself.

        Raises:
            BoardAccessError: the account does not see it.
        """
        try:
            return self.client.get(self.path)
        except MissingError as exc:
            raise self.invisible(exc) from exc

    def issue(self, task_id: str) -> Issue:
        """Read one issue as it is now.

        Raises:
            TaskNotFoundError: there is none.
            BoardAccessError: the account cannot see the project any more.
        """
        with self.about(task_id):
            return _parsed(self.client.get(self._of(task_id)))

    def comments(self, issue: Issue) -> list[Comment]:
        """Read all comments of an issue, oldest first; what was sent twice is one."""
        found: list[Comment] = []
        marks: set[str] = set()
        order = {"sort": "asc", "order_by": "created_at", "activity_filter": "only_comments"}
        with self.about(issue.id):
            for rows in self.client.pages(f"{self._of(issue.id)}/notes", order):
                for row in rows:
                    if row.get("system"):
                        continue
                    written, mark = comment(row)
                    if mark is None or mark not in marks:
                        author = author_id(row) if mark is None else None
                        found.append(self._authors.vouched(written, author))
                    marks |= {mark} if mark else set()
        return found

    def links(self, issue: Issue) -> list[Json]:
        """Read what an issue is linked to."""
        with self.about(issue.id):
            return [
                row for rows in self.client.pages(f"{self._of(issue.id)}/links") for row in rows
            ]

    def user_id(self, name: str) -> int:
        """The number of a user.

        Raises:
            InvalidTaskError: nobody is called so.
        """
        return self._users.get(name.lower())

    def invisible(self, missing: MissingError) -> BoardAccessError:
        """The error of a project that GitLab says is not there."""
        if missing.place is not None:
            return BoardAccessError(
                f"The project {self.name!r} has moved to {missing.place}; write its new name in "
                "GitLabBoard."
            )
        return BoardAccessError(
            f"The token's account cannot see the project {self.name!r} on GitLab ({missing}); "
            "check the name with all its groups, and that the account is a member, with the role "
            "Planner, Reporter or higher."
        )

    # --- writing: one of these is one change, made once ---

    def create(self, name: str, text: str, label: str) -> Issue:
        """Open an issue with a label."""

        def send(mark: str) -> Json:
            values = {"title": name, "description": TEXTS.body(text, mark), "labels": [label]}
            row: Json = self.client.write("POST", f"{self.path}/issues", values)
            return row

        try:
            return self._writes.placed(label, name, text, new_mark, send, self._created, _parsed)
        except MissingError as exc:
            raise self.invisible(exc) from exc

    def comment(self, task_id: str, text: str) -> None:
        """Write a comment; it is looked for by its mark if the answer is lost."""
        path = f"{self._of(task_id)}/notes"

        def send(mark: str) -> None:
            self.client.write("POST", path, {"body": TEXTS.body(text, mark)})

        def find(mark: str) -> Json | None:
            rows = self.client.get(path, {"sort": "desc", "order_by": "created_at", "per_page": 50})
            return next((row for row in rows if comment(row)[1] == mark), None)

        with self.about(task_id):
            self._writes.comment(task_id, text, new_mark, send, find)

    def change(self, issue: Issue, values: Json, is_done: Callable[[Issue], bool]) -> Issue:
        """Set fields of an issue in one request; doing that twice does no harm.

        Args:
            is_done: tells from the issue whether that has been done already.

        Raises:
            AnswerLostError: the answer was lost, and the issue cannot be read.
        """
        if not values:
            return issue
        with self.about(issue.id):
            try:
                row = self.client.write("PUT", self._of(issue.id), values)
            except AnswerLostError as lost:
                with still_lost(lost):
                    if is_done(now := self.issue(issue.id)):
                        return now
                    return _parsed(self.client.write("PUT", self._of(issue.id), values))
            with written(f"Task {issue.id!r} was changed"):
                return _parsed(row)

    # --- the labels themselves ---

    def make_label(self, label: str) -> None:
        """Make a label, and a list for it where the queues are lists."""
        values = {"name": label, "color": _COLOUR, "description": "A queue of Athanore"}
        try:
            row = self.client.write("POST", f"{self.path}/labels", values)
        except RefusedValueError as exc:
            if "conflict" not in exc.codes:
                raise
            if self._board is None:
                raise LabelTakenError(str(exc)) from exc
            row = self.client.get(self._of_label(label))
        number, _ = self.labels.lists() if self._board is not None else (None, [])
        if number is not None:
            lists = f"{self.path}/boards/{number}/lists"
            self.client.write("POST", lists, {"label_id": row["id"]})

    def rename_label(self, label: str, new_name: str) -> None:
        """Rename a label, which its issues keep."""
        try:
            self.client.write("PUT", self._of_label(label), {"new_name": new_name})
        except RefusedValueError as exc:
            if exc.codes & {"conflict", "title"}:
                raise LabelTakenError(str(exc)) from exc
            raise

    def delete_label(self, label: str) -> None:
        """Delete a label; the list of a board goes with it."""
        self.client.write("DELETE", self._of_label(label))

    def issues_with(self, label: str) -> int:
        """Count the issues with a label; also closed ones."""
        every = {"state": "all", "scope": "all", "labels": label}
        return sum(map(len, self.client.pages(f"{self.path}/issues", every)))

    # --- helpers ---

    def _load_own(self, _key: str) -> int:
        return int(self.client.get("user")["id"])

    def _may_write(self, user: str) -> bool:
        """Whether a user's role lets them label issues, and it is not the token's own account."""
        if int(user) == self._own_number.get(""):
            return False
        try:
            row: Json = self.client.get(f"{self.path}/members/all/{user}")
        except MissingError:
            return False
        return int(row["access_level"]) >= PLANNER

    def about(self, task_id: str) -> AbstractContextManager[None]:
        """Say why GitLab does not find something of an issue: it, or the whole project."""
        return about(task_id, is_id, self.row)

    def award(self, task_id: str) -> str:
        """The path of an issue's emoji."""
        return f"{self._of(task_id)}/award_emoji"

    def _of(self, task_id: str) -> str:
        return f"{self.path}/issues/{task_id}"

    def _of_label(self, label: str) -> str:
        return f"{self.path}/labels/{quote(label, safe='')}"

    def _user(self, name: str) -> int:
        rows: list[Json] = self.client.get("users", {"username": name})
        for row in rows:
            if str(row.get("username")).lower() == name:
                return int(row["id"])
        raise InvalidTaskError(
            f"GitLab knows no user {name!r}; write the name behind the @, not the full one."
        )

    def _created(self, mark: str) -> Json | None:
        order = {"state": "all", "scope": "all", "order_by": "created_at", "sort": "desc"}
        rows: list[Json] = self.client.get(f"{self.path}/issues", {**order, "per_page": 100})
        return next((r for r in rows if TEXTS.read(r.get("description"))[1] == mark), None)


def _parsed(row: Any) -> Issue:
    try:
        return parse(row)
    except (KeyError, TypeError, ValueError) as exc:
        raise BoardUnavailableError(f"An issue of GitLab cannot be read: {exc!r}.") from exc
