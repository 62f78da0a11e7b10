"""What each endpoint of the double does: a function of a call on the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import cast

from athanore.testing.doubles import rest
from athanore.testing.doubles.jira.state import Account, State, invalid, not_found, refused
from athanore.testing.doubles.rest import Answer, RefusalError, Row

type Call = rest.Call[State, Account]


def _issue(call: Call, permission: str | None = None) -> Row:
    row = call.state.issue(call.arg("key"))
    if permission in call.account.lacks:
        raise refused("You do not have the permission.", 403)
    return row


def _with_properties(call: Call, row: Row, asked: list[str]) -> Row:
    known, key = call.state.properties, row["key"]
    return row | {"properties": {name: known[key, name] for name in asked if (key, name) in known}}


def server_info(call: Call) -> Answer:
    row: Row = {"baseUrl": call.state.site, "version": "1001.0.0", "serverTitle": "Jira"}
    return row | {"deploymentType": call.state.deployment}, 200, {}


def myself(call: Call) -> Answer:
    return call.state.users[call.account.name], 200, {}


def permissions(call: Call) -> Answer:
    asked = call.query("permissions", "").split(",")
    rows = {
        key: {
            "id": str(number),
            "key": key,
            "name": key,
            "type": "PROJECT",
            "description": "",
            "havePermission": key not in call.account.lacks,
        }
        for number, key in enumerate(asked)
    }
    return {"permissions": rows}, 200, {}


def statuses(call: Call) -> Answer:
    if not call.state.is_visible or call.arg("project") != call.state.key:
        raise refused(f"No project could be found with key '{call.arg('project')}'.", 404)
    rows = list(call.state.statuses.values())
    types: list[Row] = [
        {"self": "", "id": str(number), "name": name, "subtask": False, "statuses": rows}
        for number, name in enumerate(("Task", "Bug"))
    ]
    return types, 200, {}


def assignable(call: Call) -> Answer:
    users = [row for name, row in call.state.users.items() if name not in call.state.outsiders]
    if number := call.query("accountId", ""):
        return [row for row in users if row.get("accountId") == number], 200, {}
    # Data Center looks for the beginnings of names.
    asked = "query" if call.state.deployment == "Cloud" else "username"
    low = call.query(asked, "").lower()
    return [row for row in users if low in row["displayName"].lower()], 200, {}


def _found(call: Call, jql: str) -> list[Row]:
    """The issues that a query of ours means; the clauses that it has are those below."""
    state = call.state
    if not state.is_visible:
        return []
    if f'project = "{state.key}"' not in jql:
        raise refused("Unbounded JQL queries are not allowed here.")
    if "ORDER BY Rank" in jql and not state.has_ranks:
        raise refused("Field 'Rank' does not exist or you do not have permission to view it.")
    own = cast("list[object]", call.fields.get("reconcileIssues") or [])
    rows = {row["id"]: row for row in state.listed()}
    rows |= {row["id"]: row for row in state.issues.values() if int(row["id"]) in own}
    found = list(rows.values())
    if ids := re.search(r"status in \(([^)]*)\)", jql):
        wanted = {part.strip() for part in ids[1].split(",")}
        found = [row for row in found if row["fields"]["status"]["id"] in wanted]
    if label := re.search(r"labels = (\w+)", jql):
        found = [row for row in found if label[1] in row["fields"]["labels"]]
    if age := re.search(r"AND (updated|created) >= -(\d+)m", jql):
        since = datetime.now(UTC) - timedelta(minutes=int(age[2]))
        found = [r for r in found if datetime.fromisoformat(r["fields"][age[1]]) >= since]
    if "updated DESC" in jql or "created DESC" in jql:
        found.reverse()
    return found


def search_cloud(call: Call) -> Answer:
    if call.state.deployment != "Cloud":
        raise not_found()
    rows = _found(call, str(call.fields["jql"]))
    size, start = int(call.fields["maxResults"]), int(call.fields.get("nextPageToken") or 0)
    asked = cast("list[str]", call.fields.get("properties") or [])
    page = [_with_properties(call, row, asked) for row in rows[start : start + size]]
    answer: Row = {"issues": page, "isLast": start + size >= len(rows)}
    if start + size < len(rows):
        answer["nextPageToken"] = str(start + size)
    return answer, 200, {}


def search_server(call: Call) -> Answer:
    if call.state.deployment == "Cloud":
        raise refused("The requested API has been removed.", 410)
    rows = _found(call, str(call.fields["jql"]))
    size, start = int(call.fields["maxResults"]), int(call.fields["startAt"])
    page = {"startAt": start, "maxResults": size, "total": len(rows)}
    return page | {"issues": rows[start : start + size]}, 200, {}


def count(call: Call) -> Answer:
    return {"count": len(_found(call, str(call.fields["jql"])))}, 200, {}


def create_issue(call: Call) -> Answer:
    state, fields = call.state, cast("Row", call.fields["fields"])
    if fields["project"]["key"] != state.key or not state.is_visible:
        raise invalid("project", "valid project is required")
    first = next(iter(state.statuses))
    row = state.add_issue(call.account.name, str(fields.get("summary") or ""), first)
    try:
        if "description" in fields:
            state.set_fields(row, {"description": fields["description"]})
    except RefusalError:
        del state.issues[row["key"]]
        raise
    for one in cast("list[Row]", call.fields.get("properties") or []):
        state.properties[row["key"], one["key"]] = one["value"]
    return {"id": row["id"], "key": row["key"], "self": row["self"]}, 201, {}


def get_issue(call: Call) -> Answer:
    return _with_properties(call, _issue(call), call.query("properties", "").split(",")), 200, {}


def update_issue(call: Call) -> Answer:
    row = _issue(call, "EDIT_ISSUES")
    update = cast("Row", call.fields.get("update") or {})
    labels: list[str] = list(row["fields"]["labels"])
    for change in cast("list[Row]", update.get("labels") or []):
        labels = [one for one in labels if one != change.get("remove")]
        labels += [change["add"]] if "add" in change else []
    fields = cast("Row", call.fields.get("fields") or {})
    call.state.set_fields(row, {**fields, "labels": labels})
    return None, 204, {}


def assign(call: Call) -> Answer:
    row = _issue(call, "ASSIGN_ISSUES")
    call.state.set_fields(row, {"assignee": call.fields})
    return None, 204, {}


def list_transitions(call: Call) -> Answer:
    row = _issue(call)
    field = {"required": True, "hasDefaultValue": False, "schema": {"type": "any"}}
    more = {"name": "", "key": "", "operations": ["set"]}
    rows: list[Row] = [
        {
            "id": str(one.number),
            "name": f"to {one.target}",
            "to": call.state.statuses[one.target],
            "hasScreen": bool(one.required),
            "isGlobal": one.source is None,
            "isInitial": False,
            "isConditional": False,
            "isAvailable": True,
            "looped": one.is_looped,
            "fields": {name: field | more for name in one.required},
        }
        for one in call.state.offered(row)
    ]
    return {"expand": "transitions", "transitions": rows}, 200, {}


def transit(call: Call) -> Answer:
    row = _issue(call, "TRANSITION_ISSUES")
    fields = cast("Row", call.fields.get("fields") or {})
    call.state.go(row, str(call.fields["transition"]["id"]), fields)
    return None, 204, {}


def list_comments(call: Call) -> Answer:
    rows = list(call.state.comments[_issue(call)["key"]])
    if call.query("orderBy", "created") == "-created":
        rows.reverse()
    start, size = int(call.query("startAt", "0")), int(call.query("maxResults", "50"))
    page = {"startAt": start, "maxResults": size, "total": len(rows)}
    return page | {"comments": rows[start : start + size]}, 200, {}


def create_comment(call: Call) -> Answer:
    row = _issue(call, "ADD_COMMENTS")
    written = call.state.add_comment(row, call.account.name, str(call.fields.get("body") or ""))
    for one in cast("list[Row]", call.fields.get("properties") or []):
        call.state.properties[written["id"], one["key"]] = one["value"]
    return written, 201, {}


def get_property(call: Call) -> Answer:
    key = (call.arg("key"), call.arg("name"))
    if key not in call.state.properties:
        raise not_found()
    return {"key": key[1], "value": call.state.properties[key]}, 200, {}


def set_property(call: Call) -> Answer:
    key = (_issue(call)["key"], call.arg("name"))
    is_new = key not in call.state.properties
    call.state.properties[key] = call.body
    return {}, 201 if is_new else 200, {}


def delete_property(call: Call) -> Answer:
    if call.state.properties.pop((call.arg("key"), call.arg("name")), None) is None:
        raise not_found()
    return None, 204, {}


_ISSUE = "/issue/{key}"

ENDPOINTS: Mapping[tuple[str, str], Callable[[Call], Answer]] = MappingProxyType(
    {
        ("GET", "/serverInfo"): server_info,
        ("GET", "/myself"): myself,
        ("GET", "/mypermissions"): permissions,
        ("GET", "/project/{project}/statuses"): statuses,
        ("GET", "/user/assignable/search"): assignable,
        ("POST", "/search/jql"): search_cloud,
        ("POST", "/search"): search_server,
        ("POST", "/search/approximate-count"): count,
        ("POST", "/issue"): create_issue,
        ("GET", _ISSUE): get_issue,
        ("PUT", _ISSUE): update_issue,
        ("PUT", f"{_ISSUE}/assignee"): assign,
        ("GET", f"{_ISSUE}/transitions"): list_transitions,
        ("POST", f"{_ISSUE}/transitions"): transit,
        ("GET", f"{_ISSUE}/comment"): list_comments,
        ("POST", f"{_ISSUE}/comment"): create_comment,
        ("GET", f"{_ISSUE}/properties/{{name}}"): get_property,
        ("PUT", f"{_ISSUE}/properties/{{name}}"): set_property,
        ("DELETE", f"{_ISSUE}/properties/{{name}}"): delete_property,
        ("GET", "/comment/{key}/properties/{name}"): get_property,
    }
)
