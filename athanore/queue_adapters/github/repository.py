"""One repository's issues: read fresh, and changed with a look before anything is done twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskNotFoundError,
)
from athanore.models import Comment
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import (
    Issue,
    comment,
    is_id,
    is_pull_request,
    label_names,
    parse,
)
from athanore.queue_adapters.github.listing import Issues
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.lost_answers import still_lost
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.queue_adapters.tracker.authors import Authors
from athanore.queue_adapters.tracker.checks import about
from athanore.queue_adapters.tracker.label_board import LabelTakenError
from athanore.queue_adapters.tracker.looking import Writes
from athanore.queue_adapters.tracker.picture import Picture
from athanore.queue_adapters.tracker.texts import new_mark

logger = logging.getLogger(__name__)

_COLOUR: Final = "0e8a16"
_LOOK_BACK: Final = timedelta(minutes=1)


class Repository:
    """The issues of one repository, and what is done with them."""

    def __init__(
        self,
        client: GitHubClient,
        name: str,
        now: Callable[[], float] = time.monotonic,
        share: int = 1,
    ) -> None:
        self.name = name
        self.path = f"repos/{name}"
        self.client = client
        self.picture = Picture(
            Issues(client, self.path),
            now,
            order=lambda issue: issue.number,
            spacing=lambda: client.quotas.between_reads() * share,
        )
        self._authors = Authors(self._is_another)
        self._writes = Writes()

    # --- reading ---

    def issue(self, task_id: str) -> Issue:
        """Read one issue as it is now.

        Raises:
            TaskNotFoundError: there is none, or it is a pull request, or was transferred.
            BoardAccessError: the account cannot see the repository any more.
        """
        with self.about(task_id):
            row: Json = self.client.get(self._of(task_id))
            if is_pull_request(row):
                raise TaskNotFoundError(task_id)
            return _parsed(row)

    def comments(self, issue: Issue) -> list[Comment]:
        """Read all comments of an issue, oldest first; what was sent twice is one."""
        found: list[Comment] = []
        marks: set[str] = set()
        with self.about(issue.id):
            for rows in self.client.pages(f"{self._of(issue.id)}/comments"):
                for row in rows:
                    written, mark = comment(row)
                    if mark is None or mark not in marks:
                        found.append(self._not_our_own(written))
                    marks |= {mark} if mark else set()
        return found

    def _not_our_own(self, written: Comment) -> Comment:
        """The comment, for whose author nobody vouches if it is the token's account.

        Agents comment by that, and it may be theirs in other ways.
        """
        if not written.author_may_write:
            return written
        return self._authors.vouched(written, written.author)

    def _is_another(self, login: str) -> bool:
        try:
            return str(self.client.get("user")["login"]) != login
        except (BoardAccessError, MissingError):
            return True  # an app's installation, which is no user

    def check_visible(self) -> None:
        """Make sure that the account sees the issues of the repository.

        Raises:
            BoardAccessError: it does not; GitHub then says of everything there that it is missing.
        """
        try:
            self.client.get(f"{self.path}/issues", {"per_page": 1, "state": "all"})
        except MissingError as exc:
            raise self.invisible(exc) from exc

    def invisible(self, missing: MissingError) -> BoardAccessError:
        """The error of a repository that GitHub says is not there."""
        if missing.place is not None:
            return BoardAccessError(
                f"The repository {self.name!r} has moved to {missing.place}; write its new name "
                "in GitHubBoard."
            )
        return BoardAccessError(
            f"The token's account cannot see the issues of {self.name!r} on GitHub ({missing}); "
            "check the name, that the repository has issues, and that the token may read it "
            "(permission Issues: read and write; of an organization an owner may have to approve "
            "it)."
        )

    # --- writing: one of these is one change, made once ---

    def create(self, name: str, text: str, label: str) -> Issue:
        """Open an issue with a label."""
        return self.create_for(label, name, text, [label], lambda issue: issue)

    def create_for[T](
        self, queue: str, name: str, text: str, labels: list[str], place: Callable[[Issue], T]
    ) -> T:
        """Open an issue, and place it.

        Args:
            place: takes it to the queue, where it may be already.
        """

        def send(mark: str) -> Json:
            values: Json = {"title": name, "body": TEXTS.body(text, mark)}
            if labels:
                values["labels"] = labels
            row: Json = self.client.write("POST", f"{self.path}/issues", values)
            return row

        with self._repository():
            return self._writes.placed(
                queue, name, text, new_mark, send, self._created, lambda row: place(_parsed(row))
            )

    def comment(self, task_id: str, text: str) -> None:
        """Write a comment; it is looked for by its mark if the answer is lost.

        If it is not there after some seconds it is sent once more. Should both arrive, people see
        it twice, and `comments` once.
        """
        path = f"{self._of(task_id)}/comments"

        def marked() -> tuple[str, str]:
            return new_mark(), f"{datetime.now(UTC) - _LOOK_BACK:%Y-%m-%dT%H:%M:%SZ}"

        def send(mark: tuple[str, str]) -> None:
            self.client.write("POST", path, {"body": TEXTS.body(text, mark[0])})

        def find(mark: tuple[str, str]) -> Json | None:
            pages = self.client.pages(path, {"since": mark[1]})
            return next((r for rows in pages for r in rows if comment(r)[1] == mark[0]), None)

        with self.about(task_id):
            self._writes.comment(task_id, text, marked, send, find)

    def set_fields(self, issue: Issue, fields: Json) -> Issue:
        """Set title, body or state."""
        row = self._sure(issue, "PATCH", "", fields, lambda now: _has(now, fields))
        return issue if row is None else _parsed(row)

    def add_labels(self, issue: Issue, labels: Sequence[str]) -> Issue:
        """Put labels on an issue, which keeps its others; a label that does not exist is made."""
        if not labels:
            return issue
        done: Callable[[Issue], bool] = lambda now: all(map(now.has_label, labels))  # noqa: E731
        rows = self._sure(issue, "POST", "/labels", {"labels": list(labels)}, done)
        return self.issue(issue.id) if rows is None else replace(issue, labels=label_names(rows))

    def remove_label(self, issue: Issue, label: str) -> Issue | None:
        """Take one label off an issue; None if it was not there, so that another took it off.

        Raises:
            AnswerLostError: it may have been taken off, by us or by another.
        """
        path = f"{self._of(issue.id)}/labels/{quote(label, safe='')}"
        try:
            rows = self.client.write("DELETE", path)
        except MissingError as exc:
            if exc.place is None:
                self.issue(issue.id)  # raises if it is the issue that is missing
                return None
            raise TaskNotFoundError(issue.id) from exc
        return replace(issue, labels=label_names(rows))

    def drop_label(self, issue: Issue, label: str) -> Issue:
        """See that an issue does not have a label."""
        try:
            return self.remove_label(issue, label) or self.issue(issue.id)
        except AnswerLostError as lost:
            now = self._now(issue, lost)
            if not now.has_label(label):
                return now
        return self.remove_label(now, label) or self.issue(issue.id)

    def assign(self, issue: Issue, logins: Iterable[str], *, off: bool = False) -> Issue:
        """Put people on an issue, or take them off.

        Raises:
            InvalidTaskError: GitHub does not take one of them, which it says by leaving him out.
        """
        wanted = list(logins)
        if not wanted:
            return issue

        def done(now: Issue) -> bool:
            there = {login.lower() for login in now.assignees}
            return all((login.lower() in there) is not off for login in wanted)

        method = "DELETE" if off else "POST"
        row = self._sure(issue, method, "/assignees", {"assignees": wanted}, done)
        now = self.issue(issue.id) if row is None else _parsed(row)
        if not done(now):
            raise InvalidTaskError(
                f"GitHub does not assign {', '.join(map(repr, wanted))} to the issue {issue.id} of "
                f"{self.name}: assignees must have access to the repository, and be at most ten."
            )
        return now

    # --- the labels themselves ---

    def make_label(self, label: str) -> None:
        """Make a label."""
        values = {"name": label, "color": _COLOUR, "description": "A queue of Athanore"}
        with _taken():
            self.client.write("POST", f"{self.path}/labels", values)

    def rename_label(self, label: str, new_name: str) -> None:
        """Rename a label, which its issues keep."""
        with _taken():
            self.client.write("PATCH", self._of_label(label), {"new_name": new_name})

    def delete_label(self, label: str) -> None:
        """Delete a label."""
        self.client.write("DELETE", self._of_label(label))

    def issues_with(self, label: str) -> int:
        """Count the issues, and pull requests, with a label; also closed ones."""
        states = {"state": "all", "labels": label}
        return sum(map(len, self.client.pages(f"{self.path}/issues", states)))

    # --- helpers ---

    def _of_label(self, label: str) -> str:
        return f"{self.path}/labels/{quote(label, safe='')}"

    def about(self, task_id: str) -> AbstractContextManager[None]:
        """Say why GitHub does not find something of an issue: it, or the whole repository."""
        return about(task_id, is_id, self.check_visible)

    @contextmanager
    def _repository(self) -> Generator[None]:
        try:
            yield
        except MissingError as exc:
            raise self.invisible(exc) from exc

    def _of(self, task_id: str) -> str:
        return f"{self.path}/issues/{task_id}"

    def _sure(
        self, issue: Issue, method: str, path: str, values: Json, done: Callable[[Issue], bool]
    ) -> Any:
        """Make a change that does no harm if it is made twice; None if a look tells it is made."""
        with self.about(issue.id):
            try:
                return self.client.write(method, self._of(issue.id) + path, values)
            except AnswerLostError as lost:
                with still_lost(lost):
                    if done(self.issue(issue.id)):
                        return None
                    return self.client.write(method, self._of(issue.id) + path, values)

    def _now(self, issue: Issue, lost: AnswerLostError) -> Issue:
        """The issue after a write whose answer was lost; the loss, if it cannot be read."""
        with still_lost(lost):
            return self.issue(issue.id)

    def _created(self, mark: str) -> Json | None:
        order = {"state": "all", "sort": "created", "direction": "desc", "per_page": 100}
        rows: list[Json] = self.client.get(f"{self.path}/issues", order)
        return next((row for row in rows if TEXTS.read(row.get("body"))[1] == mark), None)


@contextmanager
def _taken() -> Generator[None]:
    """Say that a label's name is taken, which GitHub says as it says of any other value."""
    try:
        yield
    except RefusedValueError as exc:
        if "already_exists" in exc.codes:
            raise LabelTakenError(str(exc)) from exc
        raise


def _has(issue: Issue, fields: Json) -> bool:
    """Tell whether an issue has the values that were to be set."""
    wanted = {
        "title": issue.title,
        "body": issue.body,
        "state": "open" if issue.is_open else "closed",
    }
    return all(
        wanted[field] == (TEXTS.read(value)[0] if field == "body" else value)
        for field, value in fields.items()
        if field in wanted
    )


def _parsed(row: Json) -> Issue:
    try:
        return parse(row)
    except (KeyError, TypeError, ValueError) as exc:
        raise BoardUnavailableError(f"An issue of GitHub cannot be read: {exc!r}.") from exc
