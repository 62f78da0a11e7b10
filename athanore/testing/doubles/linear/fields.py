"""What each field of the double's schema is that is no member of its object: the resolvers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from athanore.testing.doubles.graphql import Json, Resolver, connection
from athanore.testing.doubles.linear.state import Row, State, invalid, not_found, refused

_PRIORITIES: Final = ("No priority", "Urgent", "High", "Medium", "Low")


def resolvers(state: State) -> dict[str, Resolver]:
    """The fields of a workspace on these tables."""
    return {
        "Query.viewer": lambda _, __: state.user(state.me),
        "Query.teams": lambda _, a: _page(_fitting([state.team] * state.is_visible, a), a),
        "Query.issue": lambda _, a: _issue(state, a["id"]),
        "Query.issues": lambda _, a: _page(_issues(state, a), a),
        "Query.issueLabels": lambda _, a: _page(list(state.labels.values()), a),
        "Query.comment": lambda _, a: _comment(state, a["id"]),
        "User.isMe": lambda row, _: row["displayName"] == state.me,
        "Team.states": lambda _, a: _page(_alive(state.states.values()), a),
        "Team.members": lambda _, a: _page(list(state.users.values()), a),
        "Issue.priorityLabel": lambda row, _: _PRIORITIES[int(row["priority"])],
        "Issue.comments": lambda row, a: _page(_comments(state, row), a),
        "Issue.inverseRelations": lambda row, a: _page(_blocking(state, row), a),
        "Mutation.issueCreate": _mutation(state, _issue_create),
        "Mutation.issueUpdate": _mutation(state, _issue_update),
        "Mutation.commentCreate": _mutation(state, _comment_create),
        "Mutation.issueLabelCreate": _mutation(state, _label_create),
        "Mutation.workflowStateCreate": _mutation(state, _state_create),
        "Mutation.workflowStateUpdate": _mutation(state, _state_update),
        "Mutation.workflowStateArchive": _mutation(state, _state_archive),
    }


def _page(rows: list[Row], arguments: Mapping[str, Any]) -> Json:
    return connection(rows, arguments.get("first"), arguments.get("after"))


def _alive(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row["archivedAt"]]


def _fitting(rows: list[Row], arguments: Mapping[str, Any]) -> list[Row]:
    return [row for row in rows if _fits(row, arguments.get("filter") or {})]


def _issue(state: State, text: str) -> Row:
    if not state.is_visible:
        raise not_found("Issue")
    return state.read(text)


def _issues(state: State, arguments: Mapping[str, Any]) -> list[Row]:
    rows = state.listed() if state.is_visible else []
    if not arguments.get("includeArchived"):
        rows = _alive(rows)
    rows = _fitting(rows, arguments)
    if arguments.get("sort"):
        return sorted(rows, key=lambda row: (row["sortOrder"], row["id"]))
    return rows


def _comments(state: State, issue: Row) -> list[Row]:
    """The comments of an issue, the newest first, whatever order is asked for."""
    own = [row for row in state.comments.values() if row["issueId"] == issue["id"]]
    return sorted(own, key=lambda row: row["createdAt"], reverse=True)


def _blocking(state: State, issue: Row) -> list[Row]:
    found = [row for row in state.relations if row["relatedIssue"]["id"] == issue["id"]]
    return [{"id": str(n), **row} for n, row in enumerate(found)]


def _comment(state: State, comment_id: str) -> Row:
    if comment_id not in state.comments:
        raise not_found("Comment")
    return state.comments[comment_id]


def _fits(row: Row, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a row fits a filter: nested objects, and comparisons of members."""
    return all(_compares(row.get(name), rule) for name, rule in wanted.items())


def _compares(value: Any, rule: Mapping[str, Any]) -> bool:
    if isinstance(value, dict):
        return _fits(cast("Row", value), rule)
    for how, other in rule.items():
        match how:
            case "eq":
                fits = value == other
            case "eqIgnoreCase":
                fits = str(value).lower() == str(other).lower()
            case "in":
                fits = value in other
            case "nin":
                fits = value not in other
            case "gte":
                fits = str(value) >= str(other).replace("+00:00", "Z")
            case _:
                raise AssertionError(f"The double does not know the comparison {how!r}.")
        if not fits:
            return False
    return True


def _mutation(state: State, change: Callable[[State, Json], Json]) -> Resolver:
    def resolve(_: Json, arguments: Json) -> Json:
        account = next(a for a in state.accounts.values() if a.name == state.me)
        if not account.may_write:
            raise refused("You don't have permission for this", "FORBIDDEN", "forbidden")
        return {"success": True, "lastSyncId": 1.0, **change(state, arguments)}

    return resolve


def _issue_create(state: State, told: Json) -> Json:
    if told["input"]["teamId"] != state.team["id"]:
        raise not_found("Team")
    return {"issue": state.add_issue(told["input"], state.me)}


def _issue_update(state: State, told: Json) -> Json:
    row = state.issue(told["id"])
    if told["input"]:
        state.change_issue(row, told["input"])
    return {"issue": row}


def _comment_create(state: State, told: Json) -> Json:
    return {"comment": state.add_comment(told["input"], state.user(state.me))}


def _label_create(state: State, told: Json) -> Json:
    return {"issueLabel": state.add_label(told["input"]["name"])}


def _state_create(state: State, told: Json) -> Json:
    values = told["input"]
    return {"workflowState": state.add_state(values["name"], values["type"], values["position"])}


def _state_update(state: State, told: Json) -> Json:
    row, name = state.states[told["id"]], told["input"]["name"]
    if any(other["name"] == name and other is not row for other in state.states.values()):
        raise invalid("A state with this name exists already")
    row["name"] = name
    return {"workflowState": row}


def _state_archive(state: State, told: Json) -> Json:
    row = state.states[told["id"]]
    if any(issue["state"] is row and not issue["archivedAt"] for issue in state.issues.values()):
        raise invalid("States with issues cannot be archived")
    row["archivedAt"] = state.time()
    return {"entity": row}
