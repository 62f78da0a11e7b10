"""What a Planka 2.1 server does, and answers in the shapes that a real one did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from athanore.testing.doubles.planka.state import (
    Refusal,
    Row,
    State,
    by_position,
    not_found,
    now,
    optional,
    required,
)

PAGE: Final = 50
"""How many comments Planka gives at once."""

type Handler = Callable[..., dict[str, Any]]


class Double:
    """Planka's actions; each takes the user, the body and the ids of its path."""

    def __init__(self, state: State, version: str) -> None:
        self.state = state
        self.version = version

    def routes(self) -> dict[str, Handler]:
        """Every request that is answered; `own_id` is called `id` in errors."""
        return {
            "POST /access-tokens": self.create_access_token,
            "DELETE /access-tokens/me": self.delete_access_token,
            "GET /bootstrap": self.bootstrap,
            "GET /users/me": self.me,
            "POST /users": self.create_user,
            "DELETE /users/{own_id}": self.delete_user,
            "GET /projects": self.projects,
            "POST /projects": self.create_project,
            "GET /projects/{own_id}": self.project,
            "DELETE /projects/{own_id}": self.delete_project,
            "POST /projects/{projectId}/boards": self.create_board,
            "GET /boards/{own_id}": self.board,
            "DELETE /boards/{own_id}": self.delete_board,
            "GET /boards/{boardId}/actions": self.board_actions,
            "POST /boards/{boardId}/board-memberships": self.create_board_membership,
            "POST /boards/{boardId}/labels": self.create_label,
            "POST /boards/{boardId}/lists": self.create_list,
            "PATCH /lists/{own_id}": self.update_list,
            "DELETE /lists/{own_id}": self.delete_list,
            "GET /lists/{listId}/cards": self.cards,
            "POST /lists/{listId}/cards": self.create_card,
            "GET /cards/{own_id}": self.card,
            "PATCH /cards/{own_id}": self.update_card,
            "DELETE /cards/{own_id}": self.delete_card,
            "GET /cards/{cardId}/actions": self.card_actions,
            "GET /cards/{cardId}/comments": self.comments,
            "POST /cards/{cardId}/comments": self.create_comment,
            "POST /cards/{cardId}/card-labels": self.create_card_label,
            "DELETE /cards/{cardId}/card-labels/labelId:{labelId}": self.delete_card_label,
            "POST /cards/{cardId}/card-memberships": self.create_card_membership,
            "DELETE /cards/{cardId}/card-memberships/userId:{userId}": self.delete_card_membership,
            "POST /cards/{cardId}/task-lists": self.create_task_list,
            "POST /task-lists/{taskListId}/tasks": self.create_task,
        }

    # --- users ---

    def create_access_token(self, _me: Row, body: Row) -> Row:
        name = body["emailOrUsername"]
        if name in self.state.terms_not_accepted:
            raise Refusal(403, "E_FORBIDDEN", "Terms acceptance required")
        if self.state.passwords.get(name) != body["password"]:
            raise Refusal(401, "E_UNAUTHORIZED", "Invalid credentials")
        user = next(u for u in self.state.users.values() if u["username"] == name)
        return {"item": self.state.new_session(user["id"])}

    def delete_access_token(self, me: Row, _body: Row) -> Row:
        last = next(token for token, user in self.state.sessions.items() if user == me["id"])
        del self.state.sessions[last]
        return {"item": last}

    def bootstrap(self, _me: Row, _body: Row) -> Row:
        return {"item": {"oidc": None, "version": self.version}}

    def me(self, me: Row, _body: Row) -> Row:
        item = self.state.show_user(me["id"], me)
        return {"item": item, "included": {"notificationServices": []}}

    def create_user(self, me: Row, body: Row) -> Row:
        self._admin(me)
        password, role, email = body["password"], body["role"], body["email"]
        row = self.state.add_user(None, body["name"], role, password=password, email=email)
        return {"item": self.state.show_user(row["id"], me)}

    def delete_user(self, me: Row, _body: Row, user_id: str) -> Row:
        self._admin(me)
        if user_id not in self.state.users:
            raise not_found("User not found")
        shown = self.state.show_user(user_id, me)
        del self.state.users[user_id]
        for table in ("boardMemberships", "cardMemberships"):
            self.state.remove(table, lambda r: r["userId"] != user_id)
        return {"item": shown}

    def _admin(self, me: Row) -> None:
        if me["role"] != "admin":
            raise Refusal(403, "E_FORBIDDEN", "Not enough rights")

    # --- projects and boards ---

    def projects(self, me: Row, _body: Row) -> Row:
        rows = [p for p in self.state.rows("projects") if self.state.sees(me, p["id"])]
        items = [{**row, "isFavorite": False} for row in rows]
        return {"items": items, "included": self.state.hung_on_projects(rows, me)}

    def project(self, me: Row, _body: Row, project_id: str) -> Row:
        row = self.state.get("projects", project_id, "Project not found")
        if not self.state.sees(me, project_id):
            raise not_found("Project not found")
        included = self.state.hung_on_projects([row], me)
        return {"item": {**row, "isFavorite": False}, "included": included}

    def create_project(self, me: Row, body: Row) -> Row:
        required(body, "name", 128)
        project, manager = self.state.add_project(me, body["name"], body["type"])
        return {"item": project, "included": {"projectManagers": [manager]}}

    def delete_project(self, me: Row, _body: Row, project_id: str) -> Row:
        row = self.state.managed(me, project_id, "Project not found")
        if self.state.rows("boards", projectId=project_id):
            raise Refusal(422, "E_UNPROCESSABLE_ENTITY", "Must not have boards")
        self.state.remove("projects", lambda r: r["id"] != project_id)
        self.state.remove("projectManagers", lambda r: r["projectId"] != project_id)
        return {"item": row}

    def create_board(self, me: Row, body: Row, project_id: str) -> Row:
        self.state.managed(me, project_id, "Project not found")
        required(body, "name", 128)
        board, membership = self.state.add_board(me, project_id, body["name"], body["position"])
        return {"item": board, "included": {"boardMemberships": [membership]}}

    def delete_board(self, me: Row, _body: Row, board_id: str) -> Row:
        row = self.state.get("boards", board_id, "Board not found")
        self.state.managed(me, row["projectId"], "Board not found")
        self.state.remove("boards", lambda r: r["id"] != board_id)
        for table in ("boardMemberships", "lists", "labels", "cards"):
            self.state.remove(table, lambda r: r["boardId"] != board_id)
        return {"item": row}

    def board(self, me: Row, _body: Row, board_id: str) -> Row:
        state = self.state
        row = state.readable(me, board_id, "Board not found")
        lists = by_position(state.rows("lists", boardId=board_id))
        finite = {r["id"] for r in lists if r["position"] is not None}
        cards = by_position(
            c for c in state.rows("cards", boardId=board_id) if c["listId"] in finite
        )
        memberships = state.rows("boardMemberships", boardId=board_id)
        user_ids = [m["userId"] for m in memberships] + [c["creatorUserId"] for c in cards]
        included = {
            "boardMemberships": memberships,
            "labels": by_position(state.rows("labels", boardId=board_id)),
            "lists": lists,
            "cards": [state.show_card(card, me) for card in cards],
            "users": state.show_users(user_ids, me),
            "projects": [state.tables["projects"][row["projectId"]]],
            **state.hung_on(cards),
        }
        return {"item": {**row, "isSubscribed": False}, "included": included}

    def board_actions(self, me: Row, _body: Row, board_id: str) -> Row:
        self.state.readable(me, board_id, "Board not found")
        return self._actions(me, boardId=board_id)

    def create_board_membership(self, me: Row, body: Row, board_id: str) -> Row:
        board = self.state.get("boards", board_id, "Board not found")
        self.state.managed(me, board["projectId"], "Board not found")
        return {"item": self.state.add_board_membership(board, body["userId"], body["role"])}

    def create_label(self, me: Row, body: Row, board_id: str) -> Row:
        self.state.editable(me, board_id, "Board not found")
        values = {k: body.get(k) for k in ("position", "name", "color")}
        return {"item": self.state.add("labels", **values, boardId=board_id)}

    # --- lists ---

    def create_list(self, me: Row, body: Row, board_id: str) -> Row:
        required(body, "name", 128)
        self.state.editable(me, board_id, "Board not found")
        return {"item": self.state.add_list(board_id, body["type"], body["name"], body["position"])}

    def update_list(self, me: Row, body: Row, list_id: str) -> Row:
        optional(body, "name", 128)
        row = self._list(me, list_id)
        self.state.touch(row, **body)
        return {"item": row}

    def delete_list(self, me: Row, _body: Row, list_id: str) -> Row:
        row = self._list(me, list_id)
        self.state.before_delete()
        (trash,) = self.state.rows("lists", boardId=row["boardId"], type="trash")
        cards = self.state.rows("cards", listId=list_id)
        for card in cards:
            self.state.touch(card, listId=trash["id"], position=None, listChangedAt=now())
        self.state.remove("lists", lambda r: r["id"] != list_id)
        return {"item": row, "included": {"cards": cards}}

    def _list(self, me: Row, list_id: str) -> Row:
        row = self.state.get("lists", list_id, "List not found")
        self.state.editable(me, row["boardId"], "List not found")
        return row

    # --- cards ---

    def cards(self, me: Row, _body: Row, list_id: str) -> Row:
        row = self.state.get("lists", list_id, "List not found")
        self.state.readable(me, row["boardId"], "List not found")
        cards = sorted(
            self.state.rows("cards", listId=list_id), key=lambda c: c["listChangedAt"], reverse=True
        )[:PAGE]
        users = self.state.show_users((c["creatorUserId"] for c in cards), me)
        shown = [self.state.show_card(c, me) for c in cards]
        return {"items": shown, "included": {**self.state.hung_on(cards), "users": users}}

    def create_card(self, me: Row, body: Row, list_id: str) -> Row:
        required(body, "name", 1024)
        optional(body, "description", 1048576)
        row = self._list(me, list_id)
        if row["position"] is not None and body.get("position") is None:
            raise Refusal(422, "E_UNPROCESSABLE_ENTITY", "Position must be present")
        return {"item": self.state.add_card(me, row, body)}

    def card(self, me: Row, _body: Row, card_id: str) -> Row:
        card = self.state.card_to_read(me, card_id)
        users = self.state.show_users([card["creatorUserId"]], me)
        included = {**self.state.hung_on([card]), "users": users}
        return {"item": self.state.show_card(card, me), "included": included}

    def update_card(self, me: Row, body: Row, card_id: str) -> Row:
        optional(body, "name", 1024)
        optional(body, "description", 1048576)
        card = self.state.card_to_edit(me, card_id)
        values = dict(body)
        board_id = values.get("boardId", card["boardId"])
        self.state.editable(me, board_id, "Board not found")
        source = self.state.tables["lists"][card["listId"]]
        target = self.state.tables["lists"].get(values.get("listId", card["listId"]))
        if target is None or target["boardId"] != board_id:
            raise not_found("List not found")
        if target is not source:
            if target["position"] is None:
                values["position"] = None
            elif "position" not in values:
                raise Refusal(422, "E_UNPROCESSABLE_ENTITY", "Position must be present")
            values |= {"listChangedAt": now(), "isClosed": target["type"] == "closed"}
        if values:
            self.state.touch(card, **values)
        if target is not source:
            lists = {"toList": _short(target), "fromList": _short(source)}
            self.state.act(me, card, "moveCard", **lists)
        return {"item": card}

    def delete_card(self, me: Row, _body: Row, card_id: str) -> Row:
        card = self.state.card_to_edit(me, card_id)
        self.state.remove("cards", lambda r: r["id"] != card_id)
        for table in ("cardLabels", "cardMemberships", "taskLists", "comments", "actions"):
            self.state.remove(table, lambda r: r["cardId"] != card_id)
        return {"item": card}

    def card_actions(self, me: Row, _body: Row, card_id: str) -> Row:
        self.state.card_to_read(me, card_id)
        return self._actions(me, cardId=card_id)

    def _actions(self, me: Row, **equal: str) -> Row:
        rows = sorted(self.state.rows("actions", **equal), key=lambda r: -int(r["id"]))[:PAGE]
        users = self.state.show_users((r["userId"] for r in rows), me)
        return {"items": rows, "included": {"users": users}}

    # --- what hangs on cards ---

    def comments(self, me: Row, _body: Row, card_id: str, beforeId: str = "") -> Row:
        self.state.card_to_read(me, card_id)
        rows = sorted(self.state.rows("comments", cardId=card_id), key=lambda r: -int(r["id"]))
        page = [r for r in rows if not beforeId or int(r["id"]) < int(beforeId)][:PAGE]
        users = self.state.show_users((r["userId"] for r in page), me)
        return {"items": page, "included": {"users": users}}

    def create_comment(self, me: Row, body: Row, card_id: str) -> Row:
        required(body, "text", 1048576)
        card = self.state.card_to_edit(me, card_id)
        return {"item": self.state.add_comment(me, card, body["text"])}

    def create_card_label(self, me: Row, body: Row, card_id: str) -> Row:
        card = self.state.card_to_edit(me, card_id)
        label = self.state.get("labels", body["labelId"], "Label not found")
        if label["boardId"] != card["boardId"]:
            raise not_found("Label not found")
        if self.state.rows("cardLabels", cardId=card_id, labelId=label["id"]):
            raise Refusal(409, "E_CONFLICT", "Label already in card")
        return {"item": self.state.add("cardLabels", cardId=card_id, labelId=label["id"])}

    def delete_card_label(self, me: Row, _body: Row, card_id: str, label_id: str) -> Row:
        self.state.card_to_edit(me, card_id)
        rows = self.state.rows("cardLabels", cardId=card_id, labelId=label_id)
        if not rows:
            raise not_found("Label not in card")
        self.state.remove("cardLabels", lambda r: r is not rows[0])
        return {"item": rows[0]}

    def create_card_membership(self, me: Row, body: Row, card_id: str) -> Row:
        card = self.state.card_to_edit(me, card_id)
        self.state.before_membership()
        user_id = body["userId"]
        if not self.state.rows("boardMemberships", boardId=card["boardId"], userId=user_id):
            raise not_found("User not found")
        if self.state.rows("cardMemberships", cardId=card_id, userId=user_id):
            raise Refusal(409, "E_CONFLICT", "User already card member")
        row = self.state.add("cardMemberships", cardId=card_id, userId=user_id)
        user = {"id": user_id, "name": self.state.users[user_id]["name"]}
        self.state.act(me, card, "addMemberToCard", user=user)
        return {"item": row}

    def delete_card_membership(self, me: Row, _body: Row, card_id: str, user_id: str) -> Row:
        self.state.card_to_edit(me, card_id)
        rows = self.state.rows("cardMemberships", cardId=card_id, userId=user_id)
        if not rows:
            raise not_found("User not card member")
        self.state.remove("cardMemberships", lambda r: r is not rows[0])
        return {"item": rows[0]}

    def create_task_list(self, me: Row, body: Row, card_id: str) -> Row:
        required(body, "name", 128)
        self.state.card_to_edit(me, card_id)
        values = {"showOnFrontOfCard": True, "hideCompletedTasks": False} | body
        order = ("position", "name", "showOnFrontOfCard", "hideCompletedTasks")
        row = self.state.add("taskLists", **{k: values[k] for k in order}, cardId=card_id)
        return {"item": row}

    def create_task(self, me: Row, body: Row, task_list_id: str) -> Row:
        required(body, "name", 1024)
        task_list = self.state.get("taskLists", task_list_id, "Task list not found")
        self.state.card_to_edit(me, task_list["cardId"])
        row = self.state.add(
            "tasks",
            position=body["position"],
            name=body["name"],
            isCompleted=body.get("isCompleted", False),
            taskListId=task_list_id,
            linkedCardId=None,
            assigneeUserId=None,
        )
        return {"item": row}


def _short(row: Row) -> Row:
    return {key: row[key] for key in ("id", "name", "type")}
