"""What the double keeps: one team of a workspace, and who may do what."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from athanore.testing.doubles.graphql import RefusedFieldError

type Row = dict[str, Any]

LONGEST_TITLE: Final = 512
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def refused(message: str, code: str, kind: str, *, status: int = 400) -> RefusedFieldError:
    """An error as Linear tells it."""
    extensions = {
        "code": code,
        "type": kind,
        "statusCode": status,
        "userError": True,
        "userPresentableMessage": message,
    }
    return RefusedFieldError(message, {"extensions": extensions})


def not_found(what: str) -> RefusedFieldError:
    """The error of something that is not there."""
    return refused(f"Entity not found: {what}", "INPUT_ERROR", "invalid input")


def invalid(message: str) -> RefusedFieldError:
    """The error of a value that cannot be taken."""
    return refused(message, "INPUT_ERROR", "invalid input")


@dataclass
class Account:
    """Whom a key is, and what it may do."""

    name: str
    may_write: bool = True


@dataclass
class State:
    """The tables, by id. Times are those of Linear's own clock, with milliseconds."""

    key: str
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    users: dict[str, Row] = field(default_factory=dict[str, Row])
    states: dict[str, Row] = field(default_factory=dict[str, Row])
    labels: dict[str, Row] = field(default_factory=dict[str, Row])
    issues: dict[str, Row] = field(default_factory=dict[str, Row])
    comments: dict[str, Row] = field(default_factory=dict[str, Row])
    relations: list[Row] = field(default_factory=list[Row])
    team: Row = field(default_factory=dict[str, Any])
    ahead: timedelta = timedelta(0)
    is_visible: bool = True
    me: str = ""
    _last_number: int = 0
    _last_time: datetime = _LONG_AGO
    _lagging: dict[str, Row] | None = None

    def clear(self) -> None:
        """Forget everything but the team."""
        for table in (
            self.accounts,
            self.users,
            self.states,
            self.labels,
            self.issues,
            self.comments,
            self.relations,
        ):
            table.clear()
        self._lagging, self._last_number, self.ahead = None, 0, timedelta(0)
        self.is_visible = True
        self.team = {"id": str(uuid4()), "key": self.key, "name": "Engineering"}

    def now(self) -> datetime:
        """What Linear's clock says: `ahead` of ours; no moment comes twice."""
        told = datetime.now(UTC) + self.ahead
        told = told.replace(microsecond=told.microsecond // 1000 * 1000)
        self._last_time = max(told, self._last_time + timedelta(milliseconds=1))
        return self._last_time

    def time(self) -> str:
        """Now, as Linear writes it."""
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # --- people, states and labels ---

    def add_user(self, name: str, *, is_app: bool = False) -> Row:
        """Take somebody into the team; an app is delegated to, and never the assignee."""
        row: Row = {
            "id": str(uuid4()),
            "displayName": name,
            "name": name,
            "app": is_app,
            "active": True,
        }
        self.users[row["id"]] = row
        return row

    def user(self, name: str) -> Row:
        """A member, by the display name."""
        return next(row for row in self.users.values() if row["displayName"] == name)

    def add_state(self, name: str, type_: str, position: float | None = None) -> Row:
        """Make a workflow state."""
        if not name.strip():
            raise invalid("name should not be empty")
        if any(row["name"] == name and not row["archivedAt"] for row in self.states.values()):
            raise invalid("A state with this name exists already")
        place = float(len(self.states)) if position is None else position
        row: Row = {
            "id": str(uuid4()),
            "name": name,
            "type": type_,
            "position": place,
            "archivedAt": None,
        }
        self.states[row["id"]] = row
        return row

    def state(self, name: str) -> Row:
        """A state, by its name."""
        return next(row for row in self.states.values() if row["name"] == name)

    def add_label(self, name: str, *, group: Row | None = None, is_group: bool = False) -> Row:
        """Make a label of the team; of the labels of one group an issue has one at most."""
        if any(row["name"].lower() == name.lower() for row in self.labels.values()):
            raise invalid("A label with this name exists already")
        row: Row = {
            "id": str(uuid4()),
            "name": name,
            "isGroup": is_group,
            "team": self.team,
            "parent": group,
        }
        self.labels[row["id"]] = row
        return row

    # --- issues ---

    def issue(self, text: str) -> Row:
        """One issue, by its id or by its identifier."""
        found = self.issues.get(text) or next(
            (row for row in self.issues.values() if row["identifier"] == text.upper()), None
        )
        if found is None or not self.is_visible:
            raise not_found("Issue")
        return found

    def read(self, text: str) -> Row:
        """One issue as reads tell it, which may lag behind."""
        row = self.issue(text)
        return row if self._lagging is None else self._lagging.get(row["id"], row)

    def listed(self) -> list[Row]:
        """The issues as lists tell them."""
        return list((self.issues if self._lagging is None else self._lagging).values())

    def lag(self) -> None:
        """Have reads stay as they are now; mutations answer what is so."""
        self._lagging = copy.deepcopy(self.issues)

    def catch_up(self) -> None:
        """Have reads tell what is so."""
        self._lagging = None

    def add_issue(self, values: Row, creator: str) -> Row:
        """Somebody makes an issue, at the top of its state if nothing else is said."""
        check_id(values.get("id"), self.issues)
        self._last_number += 1
        now = self.time()
        tops = [row["sortOrder"] for row in self.issues.values()]
        row: Row = {
            "id": values.get("id") or str(uuid4()),
            "number": float(self._last_number),
            "identifier": f"{self.key}-{self._last_number}",
            "url": f"https://linear.test/acme/issue/{self.key}-{self._last_number}",
            "title": "",
            "description": None,
            "priority": 0.0,
            "sortOrder": min(tops, default=0.0) - 1,
            "createdAt": now,
            "updatedAt": now,
            "archivedAt": None,
            "trashed": None,
            "snoozedUntilAt": None,
            "labelIds": [],
            "team": self.team,
            "state": None,
            "assignee": None,
            "delegate": None,
            "creator": self.user(creator),
        }
        self._fill(row, {k: v for k, v in values.items() if k not in ("id", "teamId")})
        if not row["title"].strip():
            raise invalid("title should not be empty")
        self.issues[row["id"]] = row
        return row

    def change_issue(self, row: Row, values: Row) -> None:
        """Change an issue, all or nothing."""
        changed = copy.copy(row)
        self._fill(changed, values)
        row.update(changed, updatedAt=self.time())

    def _fill(self, row: Row, values: Row) -> None:
        labels = list(values.get("labelIds", row["labelIds"]))
        labels += [i for i in values.get("addedLabelIds") or () if i not in labels]
        labels = [i for i in labels if i not in (values.get("removedLabelIds") or ())]
        self._check_labels(labels)
        row["labelIds"] = labels
        for name, value in values.items():
            match name:
                case "title" if not str(value or "").strip() or len(value) > LONGEST_TITLE:
                    raise invalid("title must have between 1 and 512 characters")
                case "title":
                    row["title"] = value
                case "description":
                    row["description"] = rewritten(value) or None
                case "sortOrder":
                    row["sortOrder"] = value
                case "stateId":
                    row["state"] = self._one(self.states, value, "WorkflowState")
                case "assigneeId" | "delegateId":
                    person = value and self._one(self.users, value, "User")
                    if person and person["app"] is not (name == "delegateId"):
                        raise invalid("An app cannot be an assignee, and only an app a delegate")
                    row[name.removesuffix("Id")] = person
                case _:
                    pass

    def _check_labels(self, ids: Iterable[str]) -> None:
        groups: set[str] = set()
        for label_id in ids:
            label = self._one(self.labels, label_id, "IssueLabel")
            parent = label["parent"]
            if label["isGroup"] or (parent and parent["id"] in groups):
                raise invalid("labelIds contains several labels of a group, or a group")
            groups |= {parent["id"]} if parent else set()

    @staticmethod
    def _one(table: dict[str, Row], id_: str, what: str) -> Row:
        if id_ not in table:
            raise not_found(what)
        return table[id_]

    def add_comment(self, values: Row, author: Row) -> Row:
        """Write a comment."""
        check_id(values.get("id"), self.comments)
        issue = self.issue(values["issueId"])
        if not (values.get("body") or "").strip():
            raise invalid("body should not be empty")
        now = self.time()
        row: Row = {
            "id": values.get("id") or str(uuid4()),
            "body": rewritten(values["body"]),
            "createdAt": now,
            "updatedAt": now,
            "issue": issue,
            "issueId": issue["id"],
            "parent": None,
            "quotedText": None,
            "user": author,
            "botActor": None,
            "externalUser": None,
        }
        self.comments[row["id"]] = row
        issue["updatedAt"] = now
        return row

    def block(self, blocker: Row, blocked: Row) -> None:
        """Have one issue block another."""
        self.relations.append({"type": "blocks", "issue": blocker, "relatedIssue": blocked})


def check_id(id_: str | None, table: dict[str, Row]) -> None:
    """Refuse an id that is no UUID, or that is there already."""
    if id_ is None:
        return
    try:
        UUID(id_)
    except ValueError as exc:
        raise refused("id must be a valid UUID", "INVALID_INPUT", "invalid input") from exc
    if id_ in table:
        raise invalid("An entity with this id exists already")


def rewritten(text: str | None) -> str:
    """Markdown as it comes back: it is parsed, and printed in Linear's own way."""
    check_text(text or "")
    lines = (line.rstrip() for line in (text or "").split("\n"))
    told = "\n".join(re.sub(r"^(\s*)[-+] ", r"\1* ", line) for line in lines)
    return re.sub(r"^(\s*\* \[)x(?=\] )", r"\1X", told, flags=re.MULTILINE).strip()


def check_text(text: str) -> None:
    """Refuse what no text of Linear has."""
    if re.search("[\x00\ud800-\udfff]", text):
        raise invalid("The text has characters that cannot be stored")
