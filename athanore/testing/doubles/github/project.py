"""The double's project: columns and cards over the issues of its repositories, in GraphQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from athanore.testing.doubles.github.issues_graphql import IssueTables, refused
from athanore.testing.doubles.github.state import Row, State
from athanore.testing.doubles.graphql import Json, Resolver, connection


@dataclass
class ProjectTables:
    """One project; its cards are in the order of their positions.

    Attributes:
        repositories: the tables of the repositories whose issues may be cards, by `owner/name`.
        may_write: whether the account may change the project.
        is_visible: whether it may see it.
    """

    owner: str
    number: int
    repositories: dict[str, State]
    columns: list[Row] = field(default_factory=list[Row])
    cards: list[Row] = field(default_factory=list[Row])
    may_write: bool = True
    is_visible: bool = True
    id: str = "PVT_kwDOAAAABM4AAAE"
    field_id: str = "PVTSSF_lADOAAAABM4AAAEzgAB"
    _last: int = 0

    @property
    def _issues(self) -> IssueTables:
        return IssueTables(self.repositories)

    def start_anew(self, columns: list[str]) -> None:
        """Empty the project, and give it columns."""
        self.cards.clear()
        self.may_write = self.is_visible = True
        self.columns = [
            {"id": hashlib.sha256(name.encode()).hexdigest()[:8], "name": name} for name in columns
        ]

    def add(self, issue: Row, column: str | None = None, *, kind: str = "Issue") -> Row:
        """Put an issue, a pull request or a draft into the project; one that is there stays."""
        there = next((card for card in self.cards if card["content"] is issue), None)
        if there is not None:
            return there
        self._last += 1
        option = next((c["id"] for c in self.columns if c["name"] == column), None)
        card: Row = {
            "id": f"PVTI_{self._last}",
            "content": issue,
            "option": option,
            "isArchived": False,
            "kind": kind,
            "project": {"id": self.id},
        }
        self.cards.append(card)
        return card

    def column(self, issue: Row) -> str | None:
        """The column of an issue as it is now."""
        card = next(card for card in self.cards if card["content"] is issue)
        return next((c["name"] for c in self.columns if c["id"] == card["option"]), None)

    def resolvers(self) -> dict[str, Resolver]:
        """What answers for the project, by `Type.field`."""
        return {
            "Query.repositoryOwner": lambda _, a: self._owner(str(a["login"])),
            "Query.node": lambda _, a: self._node(str(a["id"])),
            "Organization.projectV2": lambda _, a: self._numbered(int(a["number"])),
            "ProjectV2.field": lambda _, a: self._field(str(a["name"])),
            "ProjectV2.items": lambda _, a: self._items(a),
            "ProjectV2Item.fieldValueByName": lambda card, a: self._value(card),
            "Issue.projectItems": lambda issue, a: self._cards(issue),
            "Mutation.addProjectV2ItemById": lambda _, a: self._add(a["input"]),
            "Mutation.updateProjectV2ItemFieldValue": lambda _, a: self._set(a["input"]),
            "Mutation.updateProjectV2ItemPosition": lambda _, a: self._place(a["input"]),
        }

    def _node(self, node_id: str) -> Json | None:
        if node_id == self.id and not self.is_visible:
            raise refused(f"Could not resolve to a node with the id '{node_id}'.", "NOT_FOUND")
        return self._project() if node_id == self.id else self._issues.found(node_id)

    def _numbered(self, number: int) -> Json:
        if number != self.number or not self.is_visible:
            said = f"Could not resolve to a ProjectV2 with the number {number}."
            raise refused(said, "NOT_FOUND")
        return self._project()

    def _cards(self, issue: Json) -> Json:
        cards = [
            card
            for card in self.cards
            if card["content"]["node_id"] == issue["id"] and self.is_visible
        ]
        return connection(cards, 50, None)

    def _owner(self, login: str) -> Json | None:
        is_ours = login.lower() == self.owner.lower()
        return {"__typename": "Organization", "login": self.owner} if is_ours else None

    def _project(self) -> Json:
        url = f"https://github.test/orgs/{self.owner}/projects/{self.number}"
        return {
            "__typename": "ProjectV2",
            "id": self.id,
            "url": url,
            "viewerCanUpdate": self.may_write,
        }

    def _field(self, name: str) -> Json | None:
        if name != "Status":
            return None
        kind = "ProjectV2SingleSelectField"
        return {"__typename": kind, "id": self.field_id, "options": self.columns}

    def _items(self, arguments: Mapping[str, Any]) -> Json:
        assert arguments["query"] == "is:issue is:open", "the double knows this filter only"
        found = [
            {**card, "content": self._issues.content(card["content"])}
            for card in self.cards
            if card["kind"] == "Issue"
            and card["content"]["state"] == "open"
            and not card["isArchived"]
        ]
        return connection(found, arguments.get("first"), arguments.get("after"))

    def _value(self, card: Row) -> Json | None:
        if card["option"] is None:
            return None
        return {"__typename": "ProjectV2ItemFieldSingleSelectValue", "optionId": card["option"]}

    def _card(self, card_id: str) -> Row:
        if not self.may_write:
            raise refused("Resource not accessible by personal access token", "FORBIDDEN")
        found = next((card for card in self.cards if card["id"] == card_id), None)
        if found is None:
            raise refused(
                f"Could not resolve to a node with the global id '{card_id}'", "NOT_FOUND"
            )
        return found

    def _add(self, told: Json) -> Json:
        for state in self.repositories.values():
            for row in state.issues.values():
                if row["node_id"] == told["contentId"]:
                    return {"item": self.add(row)}
        raise refused("Could not resolve to a node with the global id", "NOT_FOUND")

    def _set(self, told: Json) -> Json:
        card, option = self._card(told["itemId"]), told["value"]["singleSelectOptionId"]
        if all(column["id"] != option for column in self.columns):
            said = "The single select option Id does not belong to the field"
            raise refused(said, "UNPROCESSABLE")
        card["option"] = option
        return {"projectV2Item": card}

    def _place(self, told: Json) -> Json:
        """Put a card behind another one; without that it comes to the top."""
        card = self._card(told["itemId"])
        self.cards.remove(card)
        after = told.get("afterId")
        place = 0 if after is None else 1 + self.cards.index(self._card(after))
        self.cards.insert(place, card)
        return {"clientMutationId": None}
