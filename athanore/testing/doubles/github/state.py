"""What the double keeps: one repository, its labels, issues and comments, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from athanore.testing.doubles.tables import LaggingLists

type Row = dict[str, Any]

LONGEST_TITLE: Final = 256
LONGEST_TEXT: Final = 65_536
LONGEST_LABEL: Final = 50
MOST_ASSIGNEES: Final = 10


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(status),
            **more,
        }


def not_found(message: str = "Not Found") -> RefusalError:
    """A 404."""
    return RefusalError(404, message)


def invalid(field_name: str, code: str, resource: str = "Issue") -> RefusalError:
    """A 422 about one field."""
    errors = [{"resource": resource, "field": field_name, "code": code}]
    return RefusalError(422, "Validation Failed", errors=errors)


@dataclass
class Account:
    """Whom a token is, and what it may do; an app's installation is no user."""

    login: str
    may_write: bool = True
    is_installation: bool = False


@dataclass
class State(LaggingLists):
    """The tables. Times are whole seconds of GitHub's own clock.

    Attributes:
        hidden: the ids for GraphQL of issues that nobody may see where they are linked to.
    """

    owner: str
    repo: str
    site: str = ""
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    collaborators: set[str] = field(default_factory=set[str])
    labels: list[Row] = field(default_factory=list[Row])
    issues: dict[int, Row] = field(default_factory=dict[int, Row])
    comments: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    blockers: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    parts: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    hidden: set[str] = field(default_factory=set[str])
    has_issues: bool = True
    is_visible: bool = True
    moved_to: str | None = None
    ahead: timedelta = timedelta(0)
    _last_id: int = 1000

    def clear(self) -> None:
        """Forget everything but where the repository is."""
        for table in (self.accounts, self.labels, self.issues, self.comments, self.collaborators):
            table.clear()
        self.blockers.clear()
        self.parts.clear()
        self.hidden.clear()
        self.has_issues = self.is_visible = True
        self.moved_to = self.lagging = None
        self.ahead = timedelta(0)

    def new_id(self) -> int:
        """An id that nothing else has."""
        self._last_id += 1
        return self._last_id

    def now(self) -> datetime:
        """What GitHub's clock says: `ahead` of ours."""
        return datetime.now(UTC) + self.ahead

    def time(self) -> str:
        """Now, as GitHub writes it."""
        return f"{self.now():%Y-%m-%dT%H:%M:%SZ}"

    @property
    def address(self) -> str:
        """Where the repository's part of the API is."""
        return f"{self.site}/repos/{self.owner}/{self.repo}"

    # --- labels ---

    def label(self, name: str) -> Row | None:
        """The label of this name; cases do not count."""
        return next((row for row in self.labels if row["name"].lower() == name.lower()), None)

    def add_label(self, name: str, color: str = "ededed", description: str | None = None) -> Row:
        """Make a label."""
        check_text(name)
        if not name.strip() or len(name) > LONGEST_LABEL:
            raise invalid("name", "invalid", "Label")
        if self.label(name):
            raise invalid("name", "already_exists", "Label")
        if not re.fullmatch(r"[0-9A-Fa-f]{6}", color):
            raise invalid("color", "invalid", "Label")
        number = self.new_id()
        row: Row = {
            "id": number,
            "node_id": f"LA_{number}",
            "url": f"{self.address}/labels/{name}",
            "name": name,
            "description": description,
            "color": color,
            "default": False,
        }
        self.labels.append(row)
        return row

    def rename_label(self, row: Row, new_name: str) -> None:
        """Rename a label; its id and its issues stay, and no issue's time changes."""
        same = self.label(new_name)
        if same is not None and same is not row:
            raise invalid("name", "already_exists", "Label")
        if not new_name.strip() or len(new_name) > LONGEST_LABEL:
            raise invalid("name", "invalid", "Label")
        row["name"] = new_name

    def delete_label(self, row: Row) -> None:
        """Delete a label, and take it off all issues without touching their times."""
        self.labels.remove(row)
        for issue in self.issues.values():
            issue["labels"] = [label for label in issue["labels"] if label is not row]

    # --- issues ---

    def issue(self, number: int) -> Row:
        """One issue or pull request."""
        if number not in self.issues:
            raise not_found()
        return self.issues[number]

    def add_issue(
        self,
        author: str,
        title: str,
        body: str | None = None,
        labels: Iterable[str] = (),
        *,
        is_pull_request: bool = False,
    ) -> Row:
        """Open an issue, or a pull request."""
        _check_issue(title, body)
        number = len(self.issues) + 1
        kind = "pull" if is_pull_request else "issues"
        url = f"{self.address}/issues/{number}"
        page = f"https://github.test/{self.owner}/{self.repo}/{kind}/{number}"
        row: Row = {
            "id": self.new_id(),
            "node_id": f"I_{self.repo}_{number}",
            "url": url,
            "repository_url": self.address,
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "html_url": page,
            "number": number,
            "state": "open",
            "state_reason": None,
            "title": title,
            "body": body,
            "user": user(author),
            "labels": [self.label(name) or self.add_label(name) for name in dict.fromkeys(labels)],
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "locked": False,
            "comments": 0,
            "closed_at": None,
            "created_at": self.time(),
            "updated_at": self.time(),
            "author_association": "COLLABORATOR",
        }
        if is_pull_request:
            links = {"url": url, "html_url": page, "diff_url": page, "patch_url": page}
            row["pull_request"] = {**links, "merged_at": None}
        self.issues[number] = row
        self.comments[number] = []
        return row

    def link(self, row: Row, other: Row, *, as_part: bool = False) -> None:
        """Have an issue, of any repository, block one of this repository, or be a part of it."""
        table = self.parts if as_part else self.blockers
        table.setdefault(row["number"], []).append(other)
        self.touch(row)

    def count_links(self) -> None:
        """Write down in the issues how many others block them, and how many parts they have.

        That another issue is closed changes the number, and no time of the one that it blocked.
        """
        for number, others in self.blockers.items():
            self.issues[number]["issue_dependencies_summary"] = {
                "blocked_by": sum(other["state"] == "open" for other in others),
                "total_blocked_by": len(others),
                "blocking": 0,
                "total_blocking": 0,
            }
        for number, parts in self.parts.items():
            done = sum(part["state"] == "closed" for part in parts)
            self.issues[number]["sub_issues_summary"] = {
                "total": len(parts),
                "completed": done,
                "percent_completed": 100 * done // len(parts),
            }

    def touch(self, row: Row) -> None:
        """Note that an issue has changed."""
        row["updated_at"] = self.time()

    def set_fields(self, row: Row, fields: Row) -> None:
        """Set title, body or state of an issue."""
        _check_issue(fields.get("title", row["title"]), fields.get("body", row["body"]))
        for name in ("title", "body"):
            if name in fields:
                row[name] = fields[name]
        if (state := fields.get("state")) in ("open", "closed") and state != row["state"]:
            row["state"] = state
            row["closed_at"] = self.time() if state == "closed" else None
            row["state_reason"] = "reopened" if state == "open" else "completed"
        self.touch(row)

    def label_issue(self, row: Row, names: Iterable[str]) -> None:
        """Put labels on an issue; one that does not exist is made, in grey."""
        for name in names:
            label = self.label(name) or self.add_label(name)
            if label not in row["labels"]:
                row["labels"].append(label)
                self.touch(row)

    def unlabel_issue(self, row: Row, name: str) -> None:
        """Take a label off an issue: of two who do that at once, one is refused."""
        label = self.label(name)
        if label is None or label not in row["labels"]:
            raise not_found("Label does not exist")
        row["labels"].remove(label)
        self.touch(row)

    def assign(self, row: Row, logins: Iterable[str], *, off: bool = False) -> None:
        """Change the assignees of an issue; whom GitHub does not take it leaves out."""
        there = {one["login"]: one for one in row["assignees"]}
        for login in logins:
            known = next((c for c in self.collaborators if c.lower() == login.lower()), None)
            if known is not None and off:
                there.pop(known, None)
            elif known is not None and len(there) < MOST_ASSIGNEES:
                there.setdefault(known, user(known))
        row["assignees"] = list(there.values())
        row["assignee"] = next(iter(there.values()), None)
        self.touch(row)

    def add_comment(self, row: Row, author: str, body: str) -> Row:
        """Write a comment."""
        check_text(body)
        if not body.strip():
            raise invalid("body", "missing_field", "IssueComment")
        if len(body) > LONGEST_TEXT:
            raise invalid("body", "too_long", "IssueComment")
        number = self.new_id()
        written: Row = {
            "id": number,
            "node_id": f"IC_{number}",
            "url": f"{self.address}/issues/comments/{number}",
            "html_url": f"{row['html_url']}#issuecomment-{number}",
            "issue_url": row["url"],
            "body": body,
            "user": user(author),
            "created_at": self.time(),
            "updated_at": self.time(),
            "author_association": "COLLABORATOR",
        }
        self.comments[row["number"]].append(written)
        row["comments"] += 1
        self.touch(row)
        return written


def user(login: str) -> Row:
    """A user, as issues and comments name him."""
    url = f"https://api.github.test/users/{login}"
    names = (
        "followers",
        "following",
        "gists",
        "starred",
        "subscriptions",
        "organizations",
        "repos",
        "events",
        "received_events",
    )
    number = sum(map(ord, login))
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "avatar_url": f"https://avatars.github.test/{login}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"https://github.test/{login}",
        **{f"{name}_url": f"{url}/{name}" for name in names},
        "type": "User",
        "site_admin": False,
    }


def check_text(text: str) -> None:
    """Refuse what no text of GitHub has."""
    if re.search("[\x00\ud800-\udfff]", text):
        raise RefusalError(422, "The text has characters that cannot be stored.")


def _check_issue(title: str, body: str | None) -> None:
    check_text(title)
    check_text(body or "")
    if not title.strip():
        raise invalid("title", "missing_field")
    if len(title) > LONGEST_TITLE:
        raise invalid("title", "too_long")
    if len(body or "") > LONGEST_TEXT:
        raise invalid("body", "too_long")
