"""The double's issues in GraphQL: what both boards ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from athanore.testing.doubles.github.state import Row, State
from athanore.testing.doubles.graphql import Json, RefusedFieldError, Resolver, connection


def refused(message: str, kind: str) -> RefusedFieldError:
    """An error as GitHub tells it in GraphQL."""
    return RefusedFieldError(message, {"type": kind})


@dataclass
class IssueTables:
    """The issues of some repositories, by `owner/name`."""

    repositories: Mapping[str, State]

    def resolvers(self) -> dict[str, Resolver]:
        """What answers for issues and repositories, by `Type.field`."""
        return {
            "Query.node": lambda _, a: self.found(str(a["id"])),
            "Query.nodes": lambda _, a: [
                self.node(str(one)) or _missing(str(one)) for one in a["ids"]
            ],
            "Query.repository": lambda _, a: self._repository(f"{a['owner']}/{a['name']}"),
            "Repository.issue": lambda row, a: self._issue(row["state"], int(a["number"])),
            "Issue.blockedBy": lambda issue, a: self._linked(issue, "blockers", a),
            "Issue.subIssues": lambda issue, a: self._linked(issue, "parts", a),
        }

    def found(self, node_id: str) -> Json:
        """The issue that is called so; GitHub refuses the whole field where there is none."""
        if (found := self.node(node_id)) is None:
            raise _missing(node_id)
        return found

    def node(self, node_id: str) -> Json | None:
        """The issue that is called so in GraphQL."""
        for state in self.repositories.values():
            for row in state.issues.values():
                if row["node_id"] == node_id and not row.get("pull_request"):
                    return self.content(row)
        return None

    def _repository(self, name: str) -> Json:
        state = next((s for n, s in self.repositories.items() if n.lower() == name.lower()), None)
        if state is None or not state.is_visible:
            raise refused(f"Could not resolve to a Repository with the name '{name}'.", "NOT_FOUND")
        return {"state": state}

    def _issue(self, state: State, number: int) -> Json:
        row = state.issues.get(number)
        if row is None or row.get("pull_request"):
            said = f"Could not resolve to an Issue with the number of {number}."
            raise refused(said, "NOT_FOUND")
        return self.content(row)

    def content(self, row: Row) -> Json:
        """An issue as GraphQL tells it."""
        return {
            "__typename": "Issue",
            "id": row["node_id"],
            "number": row["number"],
            "title": row["title"],
            "body": row["body"] or "",
            "url": row["html_url"],
            "state": row["state"].upper(),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "author": {"__typename": row["user"]["type"], "login": row["user"]["login"]},
            "repository": {"nameWithOwner": _name(row)},
            "labels": {"nodes": [{"name": label["name"]} for label in row["labels"]]},
            "assignees": {"nodes": [{"login": user["login"]} for user in row["assignees"]]},
        }

    def _linked(self, issue: Json, table: str, arguments: Mapping[str, Any]) -> Json:
        state = next(
            s
            for name, s in self.repositories.items()
            if name.lower() == issue["repository"]["nameWithOwner"].lower()
        )
        links: dict[int, list[Row]] = getattr(state, table)
        rows = [self.content(row) for row in links.get(issue["number"], [])]
        page = connection(rows, arguments.get("first"), arguments.get("after"))
        hidden = {node for s in self.repositories.values() for node in s.hidden}
        page["nodes"] = [_hidden() if row["id"] in hidden else row for row in page["nodes"]]
        return page


def _name(row: Row) -> str:
    return str(row["repository_url"]).partition("/repos/")[2]


def _missing(node_id: str) -> RefusedFieldError:
    return refused(f"Could not resolve to a node with the global id of '{node_id}'.", "NOT_FOUND")


def _hidden() -> RefusedFieldError:
    return refused("Resource not accessible by personal access token", "FORBIDDEN")
