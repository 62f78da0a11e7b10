"""One project of Jira: its statuses and issues, read fresh, and changed with a look first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
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
from athanore.queue_adapters.jira import texts
from athanore.queue_adapters.jira.account import Person
from athanore.queue_adapters.jira.client import JiraClient
from athanore.queue_adapters.jira.issues import (
    CLAIM,
    FIELDS,
    Issue,
    author_key,
    comment,
    is_id,
    parse,
)
from athanore.queue_adapters.jira.search import Search
from athanore.queue_adapters.lost_answers import still_lost, written
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, MissingError
from athanore.queue_adapters.tracker.authors import Authors
from athanore.queue_adapters.tracker.checks import about
from athanore.queue_adapters.tracker.looking import Writes
from athanore.queue_adapters.tracker.picture import Picture
from athanore.queue_adapters.tracker.texts import new_mark

MARK: Final = "athanore"
"""The property of a comment or an issue of ours by which it is found again; it is not shown."""

_NEWEST: Final = 20
"""Comments among which one is looked for whose answer was lost."""

_LOOK_BACK: Final = timedelta(minutes=1)

_SEARCHED: Final = {"accountId": "accountId", "name": "username"}
"""By which parameter the assignable users are searched, by how the site names them."""

_NAMES: Final = ("displayName", "emailAddress", "name")


class Project:
    """The issues of one project, and what is done with them."""

    def __init__(
        self,
        client: JiraClient,
        key: str,
        site: str,
        jql: str | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = key
        self.site = site
        self.client = client
        self.search = Search(client, key, site, jql)
        self.picture = Picture(self.search, now, spacing=client.quotas.between_reads)
        self._statuses = Cache(self._load_statuses, timedelta(minutes=1))
        self._people = Cache(self._person, timedelta(hours=1))
        self._me = Cache(self._load_me, timedelta(days=365))
        self._authors = Authors(self._may_write)
        self._writes = Writes()

    # --- reading ---

    def statuses(self, *, anew: bool = False) -> Mapping[str, frozenset[str]]:
        """The statuses of the project by their names: several issue types may each have one.

        Raises:
            BoardAccessError: the account cannot see the project.
        """
        if anew:
            self._statuses.forget("")
        return self._statuses.get("")

    def issue(self, task_id: str) -> Issue:
        """Read one issue as it is now, not as the search knows it.

        Raises:
            TaskNotFoundError: there is none.
            BoardAccessError: the account cannot see the project any more.
        """
        with self.about(task_id):
            asked = {"fields": ",".join(FIELDS), "properties": CLAIM}
            row = self.client.get(self.of(task_id), asked)
            return self._parsed(row)

    def comments(self, issue: Issue) -> list[Comment]:
        """Read all comments of an issue, oldest first."""
        found: list[Comment] = []
        with self.about(issue.id):
            while True:
                page = {"orderBy": "created", "startAt": len(found), "maxResults": 100}
                answer = self.client.get(f"{self.of(issue.id)}/comment", page)
                rows: list[Json] = answer["comments"]
                found += (self._authors.vouched(comment(row), author_key(row)) for row in rows)
                if not rows or len(found) >= int(answer["total"]):
                    return found

    @property
    def me(self) -> Person:
        """Whose token it is; the first time costs a request."""
        return self._me.get("")

    def person(self, name: str) -> Person:
        """A user who may be assigned, by his name or email.

        Raises:
            InvalidTaskError: there is none, or several.
        """
        return self._people.get(name)

    def invisible(self, missing: MissingError) -> BoardAccessError:
        """The error of a project that Jira says is not there."""
        return BoardAccessError(
            f"The token's account cannot see the project {self.key!r} on {self.site} ({missing}); "
            "check the key, and that the account has the permission to browse the project."
        )

    # --- writing: one of these is one change, made once ---

    def create(
        self, issue_type: str, queue: str, name: str, text: str, place: Callable[[Issue], Issue]
    ) -> Issue:
        """Create an issue, which begins in the first status of its workflow, and place it.

        Args:
            place: takes it to the queue, where it may be already.

        Raises:
            AnswerLostError: it may be created, or is, and is not in the queue yet.
        """
        fields = {
            "project": {"key": self.key},
            "issuetype": {"name": issue_type},
            "summary": name,
            **({"description": texts.written(text)} if text else {}),
        }

        def send(mark: str) -> str:
            properties = [{"key": MARK, "value": {"id": mark}}]
            body = {"fields": fields, "properties": properties}
            return str(self.client.write("POST", "api/2/issue", body)[1]["key"])

        try:
            return self._writes.placed(
                queue,
                name,
                text,
                new_mark,
                send,
                lambda mark: self._created(name, mark),
                lambda key: place(self.issue(key)),
                tries=1,  # the search lags for longer than anybody can wait here
            )
        except MissingError as exc:
            raise self.invisible(exc) from exc

    def comment(self, task_id: str, text: str) -> None:
        """Write a comment; it is looked for by its mark if the answer is lost."""
        path = f"{self.of(task_id)}/comment"
        written = texts.written(text)

        def marked() -> tuple[str, datetime]:
            return new_mark(), self.client.now() - _LOOK_BACK

        def send(mark: tuple[str, datetime]) -> None:
            properties = [{"key": MARK, "value": {"id": mark[0]}}]
            self.client.write("POST", path, {"body": written, "properties": properties})

        def find(mark: tuple[str, datetime]) -> bool | None:
            newest = {"orderBy": "-created", "startAt": 0, "maxResults": _NEWEST}
            rows: list[Json] = self.client.get(path, newest)["comments"]
            ours = [row for row in rows if self._may_be_ours(row, mark[1])]
            ours.sort(key=lambda row: row.get("body") != written)  # Cloud may rewrite a text
            paths = (f"api/2/comment/{row['id']}" for row in ours)
            return any(self._has_mark(path, mark[0]) for path in paths) or None

        with self.about(task_id):
            self._writes.comment(task_id, text, marked, send, find)

    def set_fields(
        self, issue: Issue, body: Json, is_done: Callable[[Issue], bool], path: str = ""
    ) -> Issue:
        """Set fields of an issue, which does no harm if it is done twice, and read it."""
        with self.about(issue.id):
            try:
                self.client.write("PUT", self.of(issue.id) + path, body)
            except AnswerLostError as lost:
                with still_lost(lost):
                    if is_done(now := self.issue(issue.id)):
                        return now
                    self.client.write("PUT", self.of(issue.id) + path, body)
        with written(f"Task {issue.id!r} was changed"):
            return self.issue(issue.id)

    # --- helpers ---

    def about(self, task_id: str) -> AbstractContextManager[None]:
        """Say why Jira does not find something of an issue: it, or the whole project."""
        return about(task_id, is_id, lambda: self.statuses(anew=True))

    def of(self, task_id: str) -> str:
        """The path of an issue."""
        return f"api/2/issue/{task_id}"

    def _parsed(self, row: Any) -> Issue:
        try:
            return parse(row, self.site)
        except (KeyError, TypeError, ValueError) as exc:
            raise BoardUnavailableError(f"An issue of Jira cannot be read: {exc!r}.") from exc

    def _may_be_ours(self, row: Json, since: datetime) -> bool:
        """Whether the account may have written a comment since a time."""
        at = time_of(row.get("created"))
        author = author_key(row)
        is_ours = author is None or author in self.me.reference.values()
        return is_ours and (at is None or at >= since)

    def _has_mark(self, path: str, mark: str) -> bool:
        try:
            return self.client.get(f"{path}/properties/{MARK}")["value"]["id"] == mark
        except (MissingError, KeyError, TypeError):
            return False

    def _created(self, name: str, mark: str) -> str | None:
        # For so long, and a little longer, it is remembered that an issue is in doubt.
        for row in self.search.rows("created >= -65m", whole=True):
            if row["fields"]["summary"] == name and self._has_mark(self.of(row["key"]), mark):
                return str(row["key"])
        return None

    def _load_statuses(self, _key: str) -> Mapping[str, frozenset[str]]:
        try:
            types: list[Json] = self.client.get(f"api/2/project/{quote(self.key)}/statuses")
        except MissingError as exc:
            raise self.invisible(exc) from exc
        found: dict[str, set[str]] = {}
        for one in types:
            for status in one["statuses"]:
                found.setdefault(str(status["name"]), set()).add(str(status["id"]))
        return {name: frozenset(ids) for name, ids in found.items()}

    def _load_me(self, _key: str) -> Person:
        return Person.of(self.client.get("api/2/myself"))

    def _may_write(self, key: str) -> bool:
        """Whether a user may be given issues of the project: Jira tells nobody else's permissions.

        Cloud finds him by his id; Data Center by the beginning of his name.
        """
        if key in self.me.reference.values():
            return False
        field = next(iter(self.me.reference))
        params = {"project": self.key, _SEARCHED[field]: key, "maxResults": 50}
        rows: list[Json] = self.client.get("api/2/user/assignable/search", params)
        return any(row.get(field) == key and row.get("active") for row in rows)

    def _person(self, name: str) -> Person:
        params = {"project": self.key, "query": name, "username": name, "maxResults": 50}
        rows: list[Json] = self.client.get("api/2/user/assignable/search", params)
        low = name.lower()
        found = [row for row in rows if low in (str(row.get(k) or "").lower() for k in _NAMES)]
        if len(found) != 1:
            several = "several users are" if found else "no user who may be assigned is"
            raise InvalidTaskError(f"On Jira, in {self.key}, {several} called {name!r}.")
        return Person.of(found[0])
