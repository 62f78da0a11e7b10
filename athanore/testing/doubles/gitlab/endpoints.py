"""What each endpoint of the double does: a function of a call on the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast
from urllib.parse import urlencode

from athanore.testing.doubles import rest
from athanore.testing.doubles.gitlab.state import Account, State, invalid, not_found
from athanore.testing.doubles.rest import Answer, RefusalError, Row

type Call = rest.Call[State, Account]


def project_of(call: Call, *, write: bool = False) -> State:
    """The project that the path names, if the account sees it, and may change its issues."""
    state = call.state
    if not state.is_visible or call.arg("id") not in (state.path, str(state.number)):
        raise not_found("Project Not Found")
    if state.moved_to is not None:
        raise RefusalError(301, "Moved Permanently", {"location": state.moved_to})
    if write and "api" not in call.account.scopes:
        said = "The request requires higher privileges than provided by the access token."
        body = {"error": "insufficient_scope", "error_description": said, "scope": "api"}
        raise RefusalError(403, body)
    if write and call.account.role < 10:
        raise RefusalError(403, {"message": "403 Forbidden"})
    return state


def _issue(call: Call, *, write: bool = False) -> Row:
    iid = call.arg("issue_iid")
    state = project_of(call, write=write)
    return state.issue(int(iid) if iid.isdecimal() else 0)


def page_of(call: Call, rows: list[Row]) -> Answer:
    """One page of a list, and in the headers where the next is."""
    size = min(max(int(call.query("per_page", "20")), 1), 100)
    page = max(int(call.query("page", "1")), 1)
    more = page * size < len(rows)
    headers = {"x-page": str(page), "x-per-page": str(size), "x-next-page": ""}
    if more:
        query = urlencode({**call.request.query_params, "page": str(page + 1)})
        headers["link"] = f'<{call.request.url.replace(query=query)}>; rel="next"'
        headers["x-next-page"] = str(page + 1)
    return rows[(page - 1) * size : page * size], 200, headers


def _names(value: object) -> list[str]:
    """Labels, which are sent as one text, or as a list."""
    parts = cast("list[object]", value) if isinstance(value, list) else str(value or "").split(",")
    return [str(name).strip() for name in parts if str(name).strip()]


def get_user(call: Call) -> Answer:
    more = {"created_at": "2026-01-01T00:00:00.000Z", "bio": "", "bot": True}
    return call.state.users[call.account.username] | more, 200, {}


def find_users(call: Call) -> Answer:
    low = call.query("username", "").lower()
    return page_of(call, [row for name, row in call.state.users.items() if name.lower() == low])


def get_project(call: Call) -> Answer:
    state = project_of(call)
    row: Row = {
        "id": state.number,
        "path_with_namespace": state.path,
        "web_url": f"{state.site}/{state.path}",
        "issues_enabled": state.has_issues,
        "permissions": {
            "project_access": {"access_level": call.account.role, "notification_level": 3},
            "group_access": None,
        },
    }
    return row, 200, {}


def list_issues(call: Call) -> Answer:
    state = project_of(call)
    wanted, since = call.query("state", "all"), call.query("updated_after", "")
    labels = set(_names(call.query("labels", "")))
    rows = [
        row
        for row in state.listed()
        if wanted in ("all", row["state"])
        and row["updated_at"] >= since
        and labels <= set(row["labels"])
    ]
    order = call.query("order_by", "created_at")
    if order == "relative_position":  # nulls come last, whichever way it is sorted
        rows.sort(key=lambda row: (state.positions.get(row["iid"], 10**9), row["iid"]))
    else:
        newest_first = call.query("sort", "desc") == "desc"
        rows.sort(key=lambda row: (row[order], row["iid"]), reverse=newest_first)
    return page_of(call, rows)


def create_issue(call: Call) -> Answer:
    state, fields = project_of(call, write=True), call.fields
    title = str(fields.get("title") or "")
    names = _names(fields.get("labels")) if call.account.role >= 15 else []
    row = state.add_issue(call.account.username, title, fields.get("description"), names)
    return row, 201, {}


def get_issue(call: Call) -> Answer:
    return _issue(call), 200, {}


def update_issue(call: Call) -> Answer:
    row, fields = _issue(call, write=True), call.fields
    if not fields:
        raise RefusalError(400, {"error": "at least one parameter must be provided"})
    if call.account.role >= 15:  # a Guest's labels are left out, without a word
        add, remove = _names(fields.get("add_labels")), _names(fields.get("remove_labels"))
        call.state.change_labels(row, add, remove)
    call.state.set_fields(row, fields)
    return row, 200, {}


def list_notes(call: Call) -> Answer:
    rows = list(call.state.notes[_issue(call)["iid"]])
    if call.query("activity_filter", "all_notes") == "only_comments":
        rows = [row for row in rows if not row["system"]]
    if call.query("sort", "desc") == "desc":
        rows.reverse()
    return page_of(call, rows)


def create_note(call: Call) -> Answer:
    row = _issue(call, write=True)
    text = str(call.fields.get("body") or "")
    left = call.state.without_commands(row, text) or ""
    if not left.strip() and text.strip():
        return {"commands_changes": {"state_event": "close"}, "summary": ["Done."]}, 202, {}
    return call.state.add_note(row, call.account.username, left), 201, {}


def list_awards(call: Call) -> Answer:
    return page_of(call, call.state.awards[_issue(call)["iid"]])


def create_award(call: Call) -> Answer:
    row = _issue(call, write=True)
    name = str(call.fields.get("name"))
    return call.state.add_award(row, call.account.username, name), 201, {}


def delete_award(call: Call) -> Answer:
    awards = call.state.awards[_issue(call, write=True)["iid"]]
    found = [award for award in awards if str(award["id"]) == call.arg("award_id")]
    if not found or found[0]["user"]["username"] != call.account.username:
        raise not_found()
    awards.remove(found[0])
    return None, 204, {}


def list_links(call: Call) -> Answer:
    iid, state = _issue(call)["iid"], call.state
    found = [(blocker, "is_blocked_by") for blocker, blocked in state.links if blocked == iid]
    found += [(blocked, "blocks") for blocker, blocked in state.links if blocker == iid]
    rows = [
        state.issue(other) | {"issue_link_id": number, "link_type": kind}
        for number, (other, kind) in enumerate(found)
    ]
    return rows, 200, {}


def list_labels(call: Call) -> Answer:
    rows = sorted(project_of(call).labels, key=lambda row: row["name"])
    return page_of(call, rows)


def create_label(call: Call) -> Answer:
    state, fields = project_of(call, write=True), call.fields
    if "color" not in fields:
        raise RefusalError(400, {"error": "color is missing"})
    name, color = str(fields.get("name") or ""), str(fields["color"])
    return state.add_label(name, color, fields.get("description")), 201, {}


def _label(call: Call, *, write: bool = False) -> Row:
    state, name = project_of(call, write=write), call.arg("name")
    row = state.label(name) or next((r for r in state.labels if str(r["id"]) == name), None)
    if row is None:
        raise not_found("Label Not Found")
    return row


def get_label(call: Call) -> Answer:
    return _label(call), 200, {}


def update_label(call: Call) -> Answer:
    row = _label(call, write=True)
    if (name := call.fields.get("new_name")) is not None:
        call.state.rename_label(row, str(name))
    return row, 200, {}


def delete_label(call: Call) -> Answer:
    call.state.delete_label(_label(call, write=True))
    return None, 204, {}


def list_boards(call: Call) -> Answer:
    return page_of(call, project_of(call).boards)


def create_list(call: Call) -> Answer:
    state = project_of(call, write=True)
    board = next((b for b in state.boards if str(b["id"]) == call.arg("board_id")), None)
    label = next((r for r in state.labels if r["id"] == call.fields.get("label_id")), None)
    if board is None:
        raise not_found()
    if label is None:
        raise invalid("label", "not found")
    return state.add_list(board, label), 201, {}


_PROJECT = "/projects/{id:path}"
_ISSUE = f"{_PROJECT}/issues/{{issue_iid}}"

ENDPOINTS: Mapping[tuple[str, str], Callable[[Call], Answer]] = MappingProxyType(
    {
        ("GET", "/user"): get_user,
        ("GET", "/users"): find_users,
        ("GET", f"{_ISSUE}/notes"): list_notes,
        ("POST", f"{_ISSUE}/notes"): create_note,
        ("GET", f"{_ISSUE}/links"): list_links,
        ("GET", f"{_ISSUE}/award_emoji"): list_awards,
        ("POST", f"{_ISSUE}/award_emoji"): create_award,
        ("DELETE", f"{_ISSUE}/award_emoji/{{award_id}}"): delete_award,
        ("GET", f"{_PROJECT}/boards"): list_boards,
        ("POST", f"{_PROJECT}/boards/{{board_id}}/lists"): create_list,
        ("GET", f"{_PROJECT}/issues"): list_issues,
        ("POST", f"{_PROJECT}/issues"): create_issue,
        ("GET", _ISSUE): get_issue,
        ("PUT", _ISSUE): update_issue,
        ("GET", f"{_PROJECT}/labels"): list_labels,
        ("POST", f"{_PROJECT}/labels"): create_label,
        ("GET", f"{_PROJECT}/labels/{{name:path}}"): get_label,
        ("PUT", f"{_PROJECT}/labels/{{name:path}}"): update_label,
        ("DELETE", f"{_PROJECT}/labels/{{name:path}}"): delete_label,
        ("GET", _PROJECT): get_project,
    }
)
"""In the order in which they are tried: a project's path has slashes."""
