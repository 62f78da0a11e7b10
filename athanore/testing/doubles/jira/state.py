"""What the double keeps: one project, its workflow, issues and comments, and who may what."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from athanore.testing.doubles.rest import RefusalError, Row

LONGEST_TEXT: Final = 32_767
_CATEGORIES: Final = {"new": (2, "To Do"), "indeterminate": (4, "In Progress"), "done": (3, "Done")}


def refused(message: str, status: int = 400) -> RefusalError:
    """An error as Jira says it."""
    return RefusalError(status, {"errorMessages": [message], "errors": {}})


def invalid(name: str, problem: str) -> RefusalError:
    """An error about one field."""
    return RefusalError(400, {"errorMessages": [], "errors": {name: problem}})


def not_found() -> RefusalError:
    """A 404, which is also what the account may not see."""
    return refused("Issue does not exist or you do not have permission to see it.", 404)


@dataclass
class Account:
    """Whom a token is; `lacks` are permissions, by Jira's names, that it does not have."""

    name: str
    lacks: frozenset[str] = frozenset()


@dataclass
class Transition:
    """An edge of the workflow: `source` is a status by name, None where it is global.

    One that is looped leads from its target to itself as well.
    """

    number: int
    target: str
    source: str | None = None
    required: tuple[str, ...] = ()
    is_looped: bool = False

    def leads_from(self, status: str) -> bool:
        """Whether an issue in a status is offered it."""
        return self.source in (None, status) or (self.is_looped and self.target == status)


@dataclass
class State:
    """The tables. The search tells issues as they were when it was last brought up to date.

    Attributes:
        outsiders: names of users to whom no issue may be assigned.
        rewrites: what becomes of the text of a new comment, as Cloud stores it.
        has_ranks: whether there is Jira Software, which ranks issues.
    """

    key: str
    site: str = ""
    deployment: Literal["Cloud", "Server"] = "Cloud"
    bucket: tuple[int, int] | None = None
    """How many requests an account has on Data Center, and is left; None without a limit."""
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    users: dict[str, Row] = field(default_factory=dict[str, Row])
    statuses: dict[str, Row] = field(default_factory=dict[str, Row])
    transitions: list[Transition] = field(default_factory=list[Transition])
    issues: dict[str, Row] = field(default_factory=dict[str, Row])
    comments: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    links: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    properties: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    outsiders: set[str] = field(default_factory=set[str])
    is_visible: bool = True
    has_ranks: bool = True
    rewrites: Callable[[str], str] = str
    ahead: timedelta = timedelta(0)
    _last_id: int = 10_000
    _lagging: list[Row] | None = None

    def clear(self) -> None:
        """Forget everything but where the project is."""
        tables = (
            self.accounts,
            self.users,
            self.statuses,
            self.transitions,
            self.issues,
            self.comments,
            self.properties,
            self.links,
            self.outsiders,
        )
        for table in tables:
            table.clear()
        self.is_visible, self._lagging, self.ahead = True, None, timedelta(0)
        self.has_ranks, self.rewrites = True, str
        self.deployment, self.bucket = "Cloud", None

    def new_id(self) -> str:
        """An id that nothing else has."""
        self._last_id += 1
        return str(self._last_id)

    def now(self) -> datetime:
        """What Jira's clock says: `ahead` of ours."""
        return datetime.now(UTC) + self.ahead

    def time(self) -> str:
        """Now, as Jira writes it."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"

    def add_user(self, name: str) -> Row:
        """Have a user."""
        number = self.new_id()
        url = f"{self.site}/rest/api/2/user?accountId={number}"
        row: Row = {"self": url, "displayName": name, "active": True, "timeZone": "Etc/UTC"}
        if self.deployment == "Cloud":
            row |= {"accountId": number, "accountType": "atlassian"}
        else:
            row |= {"name": name.lower(), "key": number, "emailAddress": f"{name.lower()}@x.test"}
        self.users[name] = row
        return row

    # --- the workflow ---

    def add_status(self, name: str, category: str = "indeterminate") -> Row:
        """Have a status."""
        number, label = _CATEGORIES[category]
        identity = self.new_id()
        row: Row = {
            "self": f"{self.site}/rest/api/2/status/{identity}",
            "description": "",
            "iconUrl": "",
            "name": name,
            "id": identity,
            "statusCategory": {"id": number, "key": category, "name": label, "colorName": "grey"},
        }
        self.statuses[name] = row
        return row

    def allow(
        self, target: str, source: str | None = None, *required: str, is_looped: bool = False
    ) -> None:
        """Have a transition, which asks for fields if some are named."""
        number = len(self.transitions) + 11
        self.transitions.append(Transition(number, target, source, required, is_looped))

    def offered(self, issue: Row) -> list[Transition]:
        """The transitions of an issue as it is now."""
        here = issue["fields"]["status"]["name"]
        return [one for one in self.transitions if one.leads_from(here)]

    # --- issues ---

    def issue(self, key: str) -> Row:
        """One issue, by its key or its id."""
        found = self.issues.get(key) or next(
            (row for row in self.issues.values() if row["id"] == key), None
        )
        if found is None or not self.is_visible:
            raise not_found()
        return found

    def add_issue(self, creator: str, summary: str, status: str, labels: Iterable[str] = ()) -> Row:
        """Somebody, told by the display name, makes an issue."""
        number = self.new_id()
        key = f"{self.key}-{len(self.issues) + 1}"
        _check({"summary": summary})
        fields: Row = {
            "summary": summary,
            "description": None,
            "status": self.statuses[status],
            "labels": list(labels),
            "assignee": None,
            "creator": self.users[creator],
            "priority": {"id": "3", "name": "Medium"},
            "issuelinks": [],
            "project": {"id": "10000", "key": self.key, "name": self.key},
            "created": self.time(),
            "updated": self.time(),
        }
        row: Row = {
            "id": number,
            "key": key,
            "self": f"{self.site}/rest/api/2/issue/{number}",
            "expand": "",
            "fields": fields,
        }
        self.issues[key] = row
        self.comments[key] = []
        return row

    def touch(self, row: Row) -> None:
        """Note that an issue has changed."""
        row["fields"]["updated"] = self.time()

    def set_fields(self, row: Row, fields: Row) -> None:
        """Set fields of an issue; its status is no field."""
        _check(fields)
        for name, value in fields.items():
            if name == "assignee":
                row["fields"]["assignee"] = self.user(value) if value else None
            elif name in ("summary", "description", "labels"):
                row["fields"][name] = value
            else:
                said = f"Field '{name}' cannot be set. It is not on the appropriate screen."
                raise invalid(name, said)
        self.touch(row)

    def user(self, reference: Row) -> Row:
        """The user whom a request means."""
        key = "accountId" if self.deployment == "Cloud" else "name"
        for row in self.users.values():
            if row[key] == reference.get(key):
                return row
        raise invalid("assignee", "User does not exist.")

    def go(self, row: Row, number: str, fields: Row) -> None:
        """Make a transition."""
        step = next((one for one in self.offered(row) if str(one.number) == number), None)
        if step is None:
            raise refused("It seems that you have tried to perform an illegal workflow operation.")
        if absent := [name for name in step.required if name not in fields]:
            raise invalid(absent[0], f"{absent[0].title()} is required.")
        row["fields"]["status"] = self.statuses[step.target]
        self._tell_links()
        self.touch(row)

    def link(self, blocker: str, blocked: str) -> None:
        """Have an issue block another."""
        self.links.append((blocker, blocked))
        self._tell_links()

    def _tell_links(self) -> None:
        kind = {"id": "1", "name": "Blocks", "inward": "is blocked by", "outward": "blocks"}
        for row in self.issues.values():
            row["fields"]["issuelinks"] = []
        for blocker, blocked in self.links:
            for key, other, way in (
                (blocked, blocker, "inwardIssue"),
                (blocker, blocked, "outwardIssue"),
            ):
                there = self.issues[other]
                status = {"status": there["fields"]["status"]}
                told = {"id": there["id"], "key": other, "fields": status}
                link = {"id": self.new_id(), "type": kind, way: told}
                self.issues[key]["fields"]["issuelinks"].append(link)

    def add_comment(self, row: Row, author: str, text: str) -> Row:
        """Write a comment."""
        if not text.strip():
            raise invalid("comment", "Comment body can not be empty!")
        if len(text) > LONGEST_TEXT:
            raise invalid("comment", "The entered text is too long.")
        number = self.new_id()
        written: Row = {
            "id": number,
            "self": f"{row['self']}/comment/{number}",
            "author": self.users[author],
            "updateAuthor": self.users[author],
            "body": self.rewrites(text),
            "created": self.time(),
            "updated": self.time(),
        }
        self.comments[row["key"]].append(written)
        self.touch(row)
        return written

    # --- the search, which lags ---

    def listed(self) -> list[Row]:
        """The issues as the search knows them."""
        return list(self.issues.values()) if self._lagging is None else self._lagging

    def lag(self) -> None:
        """Have the search stay as it is now, while single issues go on."""
        self._lagging = [dict(row, fields=copy.copy(row["fields"])) for row in self.issues.values()]

    def catch_up(self) -> None:
        """Have the search tell what is so."""
        self._lagging = None


def _check(fields: Row) -> None:
    summary, text = fields.get("summary", "x"), fields.get("description") or ""
    if re.search("[\x00\ud800-\udfff]", f"{summary}{text}"):
        raise refused("The text has characters that cannot be stored.")
    if not summary.strip() or "\n" in summary:
        raise invalid("summary", "You must specify a summary of the issue.")
    if len(summary) > 255:
        raise invalid("summary", "Summary must be less than 255 characters.")
    if len(text) > LONGEST_TEXT:
        raise invalid("description", "The entered text is too long.")
    if any(" " in label for label in fields.get("labels") or ()):
        raise invalid("labels", "The label can't contain spaces.")
