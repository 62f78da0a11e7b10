"""What the double keeps: one project, its labels, boards, issues and notes, and who may what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from athanore.testing.doubles.rest import RefusalError, Row
from athanore.testing.doubles.tables import LaggingLists

LONGEST_TITLE: Final = 255
LONGEST_NOTE: Final = 1_000_000

_COMMANDS: Final = (
    "approve|assign|close|confidential|done|due|label|lock|merge|move|reassign|relabel|reopen|shrug|title|todo"
    "|unassign|unlabel"
)
_COMMAND = re.compile(rf"^/({_COMMANDS})\b[^\n]*\n?", re.MULTILINE | re.IGNORECASE)
_FENCED = re.compile(r"(^```.+?\n```[ \t]*$)", re.MULTILINE | re.DOTALL)


def not_found(what: str = "Not found") -> RefusalError:
    """A 404."""
    return RefusalError(404, {"message": f"404 {what}"})


def invalid(name: str, problem: str) -> RefusalError:
    """A 400 about one field."""
    return RefusalError(400, {"message": {name: [problem]}})


@dataclass
class Account:
    """Whom a token is, and what it may do; `role` is GitLab's number (10 Guest, 20 Reporter)."""

    username: str
    scopes: frozenset[str] = frozenset({"api"})
    role: int = 20


@dataclass
class State(LaggingLists):
    """The tables.

    Attributes:
        tier: of the instance: on `free` an issue has one assignee, and scoped labels (`a::b`) do
            not exclude each other.
        commands: the quick actions that texts have set off.
    """

    path: str
    site: str = ""
    tier: Literal["free", "premium"] = "free"
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    users: dict[str, Row] = field(default_factory=dict[str, Row])
    labels: list[Row] = field(default_factory=list[Row])
    boards: list[Row] = field(default_factory=list[Row])
    issues: dict[int, Row] = field(default_factory=dict[int, Row])
    notes: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    awards: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    links: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    positions: dict[int, int] = field(default_factory=dict[int, int])
    commands: list[str] = field(default_factory=list[str])
    is_visible: bool = True
    has_issues: bool = True
    moved_to: str | None = None
    ahead: timedelta = timedelta(0)
    number: int = 4
    _last_id: int = 1000

    def clear(self) -> None:
        """Forget everything but where the project is."""
        tables = (
            self.accounts,
            self.users,
            self.labels,
            self.boards,
            self.issues,
            self.notes,
            self.awards,
            self.links,
            self.positions,
            self.commands,
        )
        for table in tables:
            table.clear()
        self.is_visible = self.has_issues = True
        self.moved_to = self.lagging = None
        self.ahead = timedelta(0)
        self.tier = "free"

    def new_id(self) -> int:
        """An id that nothing else has."""
        self._last_id += 1
        return self._last_id

    def now(self) -> datetime:
        """What GitLab's clock says: `ahead` of ours."""
        return datetime.now(UTC) + self.ahead

    def time(self) -> str:
        """Now, as GitLab writes it."""
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # --- people ---

    def add_user(self, username: str) -> Row:
        """Have a user."""
        row: Row = {
            "id": self.new_id(),
            "username": username,
            "name": username.title(),
            "state": "active",
            "locked": False,
            "avatar_url": None,
            "web_url": f"{self.site}/{username}",
        }
        self.users[username] = row
        return row

    # --- labels and boards ---

    def label(self, name: str) -> Row | None:
        """The label of this name; cases count."""
        return next((row for row in self.labels if row["name"] == name), None)

    def add_label(self, name: str, color: str = "#6699cc", description: str | None = None) -> Row:
        """Make a label."""
        if not name.strip() or "," in name or len(name) > 255:
            raise invalid("title", "is invalid")
        if self.label(name):
            raise RefusalError(409, {"message": "Label already exists"})
        row: Row = {
            "id": self.new_id(),
            "name": name,
            "color": color,
            "text_color": "#FFFFFF",
            "description": description,
            "description_html": description or "",
            "subscribed": False,
            "priority": None,
            "is_project_label": True,
        }
        self.labels.append(row)
        return row

    def rename_label(self, row: Row, new_name: str) -> None:
        """Rename a label; its issues have the new name, and their times stay."""
        other = self.label(new_name)
        if other is not None and other is not row:
            raise invalid("title", "has already been taken")
        if not new_name.strip() or "," in new_name:
            raise invalid("title", "is invalid")
        for issue in self.issues.values():
            names = [new_name if name == row["name"] else name for name in issue["labels"]]
            issue["labels"] = sorted(names)
        row["name"] = new_name

    def delete_label(self, row: Row) -> None:
        """Delete a label, its lists, and take it off all issues without touching their times."""
        self.labels.remove(row)
        for board in self.boards:
            board["lists"] = [one for one in board["lists"] if one["label"] is not row]
        for issue in self.issues.values():
            issue["labels"] = [name for name in issue["labels"] if name != row["name"]]

    def add_board(self, name: str, labels: Iterable[str]) -> Row:
        """Make an issue board with a list for each label."""
        board: Row = {"id": self.new_id(), "name": name, "lists": []}
        self.boards.append(board)
        for label in labels:
            self.add_list(board, self.label(label) or self.add_label(label))
        return board

    def add_list(self, board: Row, label: Row) -> Row:
        """Put a list at the end of a board."""
        row = {"id": self.new_id(), "label": label, "position": len(board["lists"])}
        board["lists"].append(row)
        return row

    # --- issues ---

    def issue(self, iid: int) -> Row:
        """One issue."""
        if iid not in self.issues:
            raise not_found()
        return self.issues[iid]

    def add_issue(
        self, author: str, title: str, text: str | None = None, labels: Iterable[str] = ()
    ) -> Row:
        """Open an issue."""
        check_texts(title, text)
        iid = max(self.issues, default=0) + 1
        page = f"{self.site}/{self.path}/-/issues/{iid}"
        here = f"{self.site}/api/v4/projects/{self.number}"
        row: Row = {
            "id": self.new_id(),
            "iid": iid,
            "project_id": self.number,
            "title": title,
            "description": text,
            "state": "opened",
            "created_at": self.time(),
            "updated_at": self.time(),
            "closed_at": None,
            "closed_by": None,
            "labels": [],
            "milestone": None,
            "assignees": [],
            "assignee": None,
            "author": self.users[author],
            "type": "ISSUE",
            "issue_type": "issue",
            "user_notes_count": 0,
            "due_date": None,
            "confidential": False,
            "discussion_locked": None,
            "web_url": page,
            "task_completion_status": {"count": 0, "completed_count": 0},
            "has_tasks": False,
            "_links": {"self": f"{here}/issues/{iid}", "project": here},
            "references": {"short": f"#{iid}", "relative": f"#{iid}", "full": f"{self.path}#{iid}"},
            "moved_to_id": None,
        }
        self.issues[iid] = row
        self.notes[iid], self.awards[iid] = [], []
        self.change_labels(row, add=labels)
        row["description"] = self.without_commands(row, text)
        return row

    def touch(self, row: Row) -> None:
        """Note that an issue has changed."""
        row["updated_at"] = self.time()

    def change_labels(self, row: Row, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Put labels on an issue and take others off; one that does not exist is made."""
        names = [name for name in row["labels"] if name not in set(remove)]
        for name in add:
            if self.label(name) is None:
                self.add_label(name)
            scope = name.rpartition("::")[0]
            if self.tier == "premium" and scope:
                names = [one for one in names if one.rpartition("::")[0] != scope]
            names = [*names, name] if name not in names else names
        row["labels"] = sorted(names)
        self.touch(row)

    def set_fields(self, row: Row, fields: Row) -> None:
        """Set title, description, assignees or state of an issue."""
        check_texts(
            fields.get("title", row["title"]), fields.get("description", row["description"])
        )
        if "title" in fields:
            row["title"] = fields["title"]
        if "description" in fields:
            row["description"] = self.without_commands(row, fields["description"])
        if "assignee_ids" in fields:
            people = [
                u for i in fields["assignee_ids"] for u in self.users.values() if u["id"] == i
            ]
            row["assignees"] = people if self.tier == "premium" else people[:1]
            row["assignee"] = next(iter(row["assignees"]), None)
        if (event := fields.get("state_event")) in ("close", "reopen"):
            row["state"] = "closed" if event == "close" else "opened"
            row["closed_at"] = self.time() if event == "close" else None
        self.touch(row)

    def without_commands(self, row: Row, text: str | None) -> str | None:
        """Do what the quick actions of a text say, and return the text without them."""
        parts = _FENCED.split(text or "")
        for part in parts[::2]:
            for found in _COMMAND.finditer(part):
                self.commands.append(found[0].strip())
                if found[1].lower() == "close":
                    row["state"] = "closed"
        parts[::2] = [_COMMAND.sub("", part) for part in parts[::2]]
        return None if text is None else "".join(parts)

    def add_note(self, row: Row, author: str, text: str, *, system: bool = False) -> Row:
        """Write a note."""
        if re.search("[\x00\ud800-\udfff]", text):
            raise invalid("note", "has characters that cannot be stored")
        if not text.strip():
            raise RefusalError(400, {"error": "body is empty"})
        if len(text) > LONGEST_NOTE:
            raise invalid("note", "is too long (maximum is 1000000 characters)")
        written: Row = {
            "id": self.new_id(),
            "type": None,
            "body": text,
            "author": self.users[author],
            "created_at": self.time(),
            "updated_at": self.time(),
            "system": system,
            "noteable_id": row["id"],
            "noteable_type": "Issue",
            "project_id": self.number,
            "resolvable": False,
            "confidential": False,
            "internal": False,
            "imported": False,
            "imported_from": "none",
            "noteable_iid": row["iid"],
        }
        self.notes[row["iid"]].append(written)
        row["user_notes_count"] += 0 if system else 1
        self.touch(row)
        return written

    def add_award(self, row: Row, author: str, name: str) -> Row:
        """Give an emoji; a user gives each once."""
        awards = self.awards[row["iid"]]
        user = self.users[author]
        if any(one["name"] == name and one["user"] is user for one in awards):
            raise not_found("Award Emoji Name has already been taken Not Found")
        award: Row = {
            "id": self.new_id(),
            "name": name,
            "user": user,
            "created_at": self.time(),
            "updated_at": self.time(),
            "awardable_id": row["id"],
            "awardable_type": "Issue",
            "url": None,
        }
        awards.append(award)
        return award


def check_texts(title: str, text: str | None) -> None:
    """Refuse a title or a text that GitLab cannot take."""
    if not title.strip():
        raise RefusalError(400, {"message": {"title": ["can't be blank"]}})
    if re.search("[\x00\ud800-\udfff]", title + (text or "")):
        raise invalid("title", "has characters that cannot be stored")
    if len(title) > LONGEST_TITLE:
        raise invalid("title", f"is too long (maximum is {LONGEST_TITLE} characters)")
    if len(text or "") > 1_048_576:
        raise invalid("description", "is too long (maximum is 1048576 characters)")
