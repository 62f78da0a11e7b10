"""What a Planka server keeps, and how it shows it: rows exactly as they go over the wire."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

type Row = dict[str, Any]

_PERSONAL = (
    "language",
    "subscribeToOwnCards",
    "subscribeToCardWhenCommenting",
    "turnOffRecentCardHighlighting",
    "enableFavoritesByDefault",
    "defaultEditorMode",
    "defaultHomeView",
    "defaultProjectsOrder",
)
_PRIVATE = ("email", "apiKeyPrefix", "isSsoUser")


class Refusal(Exception):
    """An error's answer, as Planka words it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Row = {"code": code, "message": message}


class Invalid(Exception):
    """A parameter is missing or malformed."""


def required(body: Row, key: str, longest: int) -> None:
    """Refuse a body without this text."""
    if not body.get(key):
        raise Invalid(f"Invalid \"{key}\":  Cannot use '' (empty string) for a required input.")
    optional(body, key, longest)


def optional(body: Row, key: str, longest: int) -> None:
    """Refuse this text if it is empty or too long."""
    value = body.get(key)
    if value == "":
        raise Invalid(f"Invalid \"{key}\":\n  · Value ('') was an empty string.")
    if isinstance(value, str) and len(value) > longest:
        raise Invalid(f'Invalid "{key}":\n  · Value was longer than {longest} characters.')


def not_found(what: str) -> Refusal:
    return Refusal(404, "E_NOT_FOUND", what)


class State:
    """The tables of a Planka server, and the rules that its actions share."""

    def __init__(self) -> None:
        self._ids = itertools.count(1914079840026232484, 16807)
        self.users: dict[str, Row] = {}
        self.keys: dict[str, str] = {}
        self.passwords: dict[str, str] = {}
        self.sessions: dict[str, str] = {}
        self.terms_not_accepted: set[str] = set()
        self.before_membership: Callable[[], object] = lambda: None
        self.before_delete: Callable[[], object] = lambda: None
        self.mentioned: list[str] = []
        self.subscriptions: set[tuple[str, str]] = set()
        self.tables: dict[str, dict[str, Row]] = {
            name: {}
            for name in (
                "projects",
                "projectManagers",
                "boards",
                "boardMemberships",
                "lists",
                "labels",
                "cards",
                "cardLabels",
                "cardMemberships",
                "taskLists",
                "tasks",
                "comments",
                "actions",
            )
        }

    # --- rows ---

    def add(self, table: str, **values: Any) -> Row:
        row_id = str(next(self._ids))
        row: Row = {"id": row_id, "createdAt": now(), "updatedAt": None, **values}
        self.tables[table][row_id] = row
        return row

    def rows(self, table: str, **equal: Any) -> list[Row]:
        found = self.tables[table].values()
        return [r for r in found if all(r[k] == v for k, v in equal.items())]

    def get(self, table: str, row_id: str, missing: str) -> Row:
        row = self.tables[table].get(row_id)
        if row is None:
            raise not_found(missing)
        return row

    def touch(self, row: Row, **values: Any) -> None:
        row.update(values, updatedAt=now())

    def remove(self, table: str, keep: Callable[[Row], bool]) -> None:
        self.tables[table] = {i: r for i, r in self.tables[table].items() if keep(r)}

    def add_user(
        self,
        username: str | None,
        name: str,
        role: str,
        *,
        key: str | None = None,
        password: str,
        email: str = "",
    ) -> Row:
        user_id = str(next(self._ids))
        self.users[user_id] = {
            "id": user_id,
            "createdAt": now(),
            "updatedAt": now(),
            "email": email or f"{username}@lab.test",
            "role": role,
            "name": name,
            "username": username,
            "phone": None,
            "organization": None,
            "language": "en-US",
            "apiKeyPrefix": key and key[:8],
            "subscribeToOwnCards": False,
            "subscribeToCardWhenCommenting": True,
            "turnOffRecentCardHighlighting": False,
            "enableFavoritesByDefault": True,
            "defaultEditorMode": "wysiwyg",
            "defaultHomeView": "groupedProjects",
            "defaultProjectsOrder": "byDefault",
            "isSsoUser": False,
            "isDeactivated": False,
            "avatar": None,
        }
        if key:
            self.keys[key] = user_id
        if username:
            self.passwords[username] = password
        return self.users[user_id]

    def add_board_membership(self, board: Row, user_id: str, role: str) -> Row:
        return self.add(
            "boardMemberships",
            role=role,
            canComment=None,
            projectId=board["projectId"],
            boardId=board["id"],
            userId=user_id,
        )

    def new_session(self, user_id: str) -> str:
        token = f"session-{next(self._ids)}"
        self.sessions[token] = user_id
        return token

    def add_project(self, me: Row, name: str, kind: str) -> tuple[Row, Row]:
        project = self.add(
            "projects",
            name=name,
            description=None,
            backgroundType=None,
            backgroundGradient=None,
            isHidden=False,
            ownerProjectManagerId=None,
            backgroundImageId=None,
        )
        manager = self.add("projectManagers", projectId=project["id"], userId=me["id"])
        owner = manager["id"] if kind == "private" else None
        self.touch(project, ownerProjectManagerId=owner)
        return project, manager

    def add_board(self, me: Row, project_id: str, name: str, position: float) -> tuple[Row, Row]:
        board = self.add(
            "boards",
            position=position,
            name=name,
            defaultView="kanban",
            defaultCardType="project",
            limitCardTypesToDefaultOne=False,
            alwaysDisplayCardCreator=False,
            displayCardAges=False,
            expandTaskListsByDefault=False,
            projectId=project_id,
        )
        membership = self.add_board_membership(board, me["id"], "editor")
        for kind in ("archive", "trash"):
            self.add_list(board["id"], kind, None, None)
        return board, membership

    def add_list(self, board_id: str, kind: str, name: str | None, position: float | None) -> Row:
        values = {"type": kind, "position": position, "name": name, "color": None}
        return self.add("lists", **values, boardId=board_id)

    def add_card(self, me: Row, in_list: Row, body: Row) -> Row:
        card = self.add(
            "cards",
            type=body.get("type", "project"),
            position=body.get("position"),
            name=body["name"],
            description=body.get("description"),
            dueDate=None,
            isDueCompleted=None,
            stopwatch=None,
            commentsTotal=0,
            isClosed=in_list["type"] == "closed",
            listChangedAt=now(),
            boardId=in_list["boardId"],
            listId=in_list["id"],
            creatorUserId=me["id"],
            prevListId=None,
            coverAttachmentId=None,
        )
        named = {key: in_list[key] for key in ("id", "name", "type")}
        self.act(me, card, "createCard", list=named)
        return card

    def add_comment(self, me: Row, card: Row, text: str) -> Row:
        row = self.add("comments", text=text, cardId=card["id"], userId=me["id"])
        self.touch(card, commentsTotal=card["commentsTotal"] + 1)
        self.subscriptions.add((card["id"], me["id"]))
        self.mentioned += re.findall(r"@\[.*?\]\((.*?)\)", text)
        return row

    def act(self, me: Row, card: Row, kind: str, **data: Any) -> None:
        """Note an action of the board's history."""
        self.add(
            "actions",
            type=kind,
            data={"card": {"name": card["name"]}, **data},
            boardId=card["boardId"],
            cardId=card["id"],
            userId=me["id"],
        )

    # --- rights ---

    def managed(self, me: Row, project_id: str, missing: str) -> Row:
        row = self.get("projects", project_id, missing)
        if not self.manages(me, project_id):
            raise not_found(missing)
        return row

    def sees(self, me: Row, project_id: str) -> bool:
        member = self.rows("boardMemberships", projectId=project_id, userId=me["id"])
        return self.manages(me, project_id) or bool(member)

    def manages(self, me: Row, project_id: str) -> bool:
        return bool(self.rows("projectManagers", projectId=project_id, userId=me["id"]))

    def role(self, me: Row, board_id: str) -> str | None:
        rows = self.rows("boardMemberships", boardId=board_id, userId=me["id"])
        return rows[0]["role"] if rows else None

    def readable(self, me: Row, board_id: str, missing: str) -> Row:
        board = self.get("boards", board_id, missing)
        project = self.tables["projects"][board["projectId"]]
        shared_admin = me["role"] == "admin" and project["ownerProjectManagerId"] is None
        if not (shared_admin or self.manages(me, project["id"]) or self.role(me, board_id)):
            raise not_found(missing)
        return board

    def editable(self, me: Row, board_id: str, missing: str) -> None:
        role = self.role(me, board_id)
        if role is None:
            raise not_found(missing)
        if role != "editor":
            raise Refusal(403, "E_FORBIDDEN", "Not enough rights")

    def card_to_edit(self, me: Row, card_id: str) -> Row:
        card = self.get("cards", card_id, "Card not found")
        self.editable(me, card["boardId"], "Card not found")
        return card

    def card_to_read(self, me: Row, card_id: str) -> Row:
        card = self.get("cards", card_id, "Card not found")
        self.readable(me, card["boardId"], "Card not found")
        return card

    # --- how it is shown ---

    def show_user(self, user_id: str, me: Row) -> Row:
        row = self.users[user_id]
        shown = dict(row)
        if user_id == me["id"] or me["role"] == "admin":
            first = next(iter(self.users)) == user_id
            names = ["email", "password", "name", "role", "username"] if first else []
            shown |= {"isDefaultAdmin": first, "lockedFieldNames": names}
        else:
            shown = {k: v for k, v in shown.items() if k not in _PRIVATE}
        if user_id != me["id"]:
            shown = {k: v for k, v in shown.items() if k not in _PERSONAL}
        return shown

    def show_users(self, ids: Iterable[str | None], me: Row) -> list[Row]:
        return [self.show_user(i, me) for i in dict.fromkeys(ids) if i in self.users]

    def show_card(self, card: Row, me: Row) -> Row:
        return {**card, "isSubscribed": (card["id"], me["id"]) in self.subscriptions}

    def hung_on(self, cards: list[Row]) -> dict[str, list[Row]]:
        """What a board's, a list's and a card's answer include about their cards."""
        ids = {card["id"] for card in cards}
        lists = [r for r in self.rows("taskLists") if r["cardId"] in ids]
        list_ids = {row["id"] for row in lists}
        return {
            "cardMemberships": [r for r in self.rows("cardMemberships") if r["cardId"] in ids],
            "cardLabels": [r for r in self.rows("cardLabels") if r["cardId"] in ids],
            "taskLists": lists,
            "tasks": [r for r in self.rows("tasks") if r["taskListId"] in list_ids],
            "customFieldGroups": [],
            "customFields": [],
            "customFieldValues": [],
            "attachments": [],
        }

    def hung_on_projects(self, projects: list[Row], me: Row) -> dict[str, list[Row]]:
        ids = {row["id"] for row in projects}
        managers = [r for r in self.rows("projectManagers") if r["projectId"] in ids]
        boards = [
            board
            for board in self.rows("boards")
            if board["projectId"] in ids
            and (self.manages(me, board["projectId"]) or self.role(me, board["id"]))
        ]
        mine = self.rows("boardMemberships", userId=me["id"])
        return {
            "projectManagers": managers,
            "baseCustomFieldGroups": [],
            "boards": boards,
            "boardMemberships": [r for r in mine if r["projectId"] in ids],
            "customFields": [],
            "notificationServices": [],
            "users": self.show_users((m["userId"] for m in managers), me),
            "backgroundImages": [],
        }


def now() -> str:
    """The time as Planka writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def by_position(rows: Iterable[Row]) -> list[Row]:
    """Rows from first to last; those without a position come at the end."""
    return sorted(rows, key=lambda r: (r["position"] is None, r["position"] or 0, int(r["id"])))
