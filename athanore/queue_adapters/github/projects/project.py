"""One project of GitHub: its columns, its items, and what is done with their places, in GraphQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardUnavailableError,
    ConfigurationError,
    QueueNotFoundError,
)
from athanore.http_client.cache import Cache
from athanore.models import ChecklistItem
from athanore.queue_adapters.github.graphql import GitHubGraphQL
from athanore.queue_adapters.github.issues import Ids, Issue
from athanore.queue_adapters.github.relations import (
    BLOCKED_BY,
    HIDDEN,
    SUB_ISSUES,
    Blockers,
    parts_in,
    tell_hidden,
    told_hidden,
)
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.tracker.answers import (
    Json,
    MissingError,
    RefusedValueError,
    mapping,
    pass_over,
)
from athanore.queue_adapters.tracker.picture import Reading

MAX_AGE: Final = timedelta(minutes=5)
"""How long the columns are believed; one that is not known has them read anew."""

_ISSUE: Final = f"""
fragment Content on Issue {{ id number title body url state createdAt updatedAt author {{ login }}
  repository {{ nameWithOwner }} labels(first: 50) {{ nodes {{ name }} }}
  assignees(first: 10) {{ nodes {{ login }} }} {BLOCKED_BY} }}"""

_STATUS: Final = (
    "fieldValueByName(name: $field) { ... on ProjectV2ItemFieldSingleSelectValue { optionId } }"
)

_COLUMNS: Final = """
query Columns($owner: String!, $number: Int!, $field: String!) {
  repositoryOwner(login: $owner) { ... on ProjectV2Owner { projectV2(number: $number) {
    id url viewerCanUpdate
    field(name: $field) { ... on ProjectV2SingleSelectField { id options { id name } } } } } }
}"""

_ITEMS: Final = f"""
query Items($project: ID!, $field: String!, $after: String) {{
  node(id: $project) {{ ... on ProjectV2 {{
    items(first: 100, after: $after, query: "is:issue is:open",
      orderBy: {{field: POSITION, direction: ASC}}) {{
      nodes {{ id isArchived {_STATUS} content {{ ...Content }} }}
      pageInfo {{ hasNextPage endCursor }} }} }} }}
}}{_ISSUE}"""

_ITEM: Final = f"""
query Item($owner: String!, $name: String!, $number: Int!, $field: String!) {{
  repository(owner: $owner, name: $name) {{ issue(number: $number) {{ ...Content {SUB_ISSUES}
    projectItems(first: 50, includeArchived: true) {{
      nodes {{ id isArchived project {{ id }} {_STATUS} }} }} }} }}
}}{_ISSUE}"""

_ADD: Final = """
mutation Add($project: ID!, $content: ID!) {
  addProjectV2ItemById(input: {projectId: $project, contentId: $content}) { item { id } }
}"""

_SET: Final = """
mutation Set($project: ID!, $item: ID!, $field: ID!, $option: String!) {
  updateProjectV2ItemFieldValue(input: {projectId: $project, itemId: $item, fieldId: $field,
    value: {singleSelectOptionId: $option}}) { projectV2Item { id } }
}"""

_SET_AFTER: Final = """
mutation SetAfter($project: ID!, $item: ID!, $field: ID!, $option: String!, $after: ID!) {
  updateProjectV2ItemFieldValue(input: {projectId: $project, itemId: $item, fieldId: $field,
    value: {singleSelectOptionId: $option}}) { projectV2Item { id } }
  updateProjectV2ItemPosition(input: {projectId: $project, itemId: $item, afterId: $after}) {
    clientMutationId }
}"""


@dataclass(frozen=True, slots=True)
class Columns:
    """The project as it was read: `options` are the ids of its columns by name, in their order."""

    id: str
    url: str
    field_id: str
    options: dict[str, str]
    may_write: bool

    def name(self, option: str | None) -> str | None:
        """The name of a column."""
        return next((name for name, id_ in self.options.items() if id_ == option), None)


@dataclass(frozen=True, slots=True)
class Item:
    """An issue, and its card in the project.

    Attributes:
        id: of the task.
        repository: as `owner/name`.
        content_id: of the issue, for GraphQL.
        card: the id of the card; None if the issue has none in the project.
        option: the id of its column; None if it is in none.
        blockers: the ids of the tasks that are to end first.
        parts: its sub-issues, where it was read by itself.
        is_shown: False for a card in the archive.
    """

    id: str
    repository: str
    content_id: str
    issue: Issue
    card: str | None
    option: str | None
    blockers: tuple[str, ...]
    parts: tuple[ChecklistItem, ...] = ()
    is_shown: bool = True

    @property
    def is_open(self) -> bool:
        """Whether it can be ready."""
        return self.issue.is_open and self.is_shown and self.option is not None

    @property
    def updated_at(self) -> str:
        """When the issue was changed last; a change of its column is none."""
        return self.issue.updated_at

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of it differs in nothing that we write."""
        return (
            isinstance(other, Item)
            and self.option == other.option
            and self.issue.looks_like(other.issue)
        )


class Project:
    """Reads and changes one project; safe to use from many threads."""

    def __init__(self, graphql: GitHubGraphQL, owner: str, project: int, field: str) -> None:
        self.owner = owner
        self.number = project
        self.field = field
        self.ids = Ids(owner)
        self.quotas = graphql.quotas
        self._graphql = graphql
        self._cache = Cache(self._load, MAX_AGE)
        self._blockers = Blockers(graphql)
        self._told = told_hidden()

    def close(self) -> None:
        """Close the connections."""
        self._graphql.close()

    # --- columns ---

    def columns(self, *, anew: bool = False) -> Columns:
        """The columns of the project.

        Raises:
            BoardAccessError: there is no such project, or the token does not see it.
            ConfigurationError: it has no such field.
        """
        if anew:
            self._cache.forget("")
        return self._cache.get("")

    def option(self, queue: str) -> str:
        """The id of a column.

        Raises:
            QueueNotFoundError: there is none.
        """
        found = self.columns().options
        if queue not in found:
            found = self.columns(anew=True).options
        if queue not in found:
            raise QueueNotFoundError(queue, found)
        return found[queue]

    # --- items ---

    def whole(self, mark: str | None) -> Reading[Item]:
        """Read the open issues of the project, column by column as people have put them."""
        columns = self.columns()
        variables = {"project": columns.id, "field": self.field}
        rows = self._graphql.nodes(_ITEMS, variables, ("node", "items"), passing_over=HIDDEN)
        try:
            found = [item for row in rows if (item := self._item(row["content"], row)) is not None]
        except MissingError as exc:
            raise self._invisible(str(exc)) from exc
        return Reading(found, None, True, datetime.now(UTC))

    def since(self, moment: datetime, mark: str | None) -> Reading[Item]:
        """As `whole`: a change of a column changes no time that could be asked for."""
        return self.whole(mark)

    def item(self, repository: str, issue: int) -> Item:
        """Read one issue, and its card, as they are now.

        Raises:
            MissingError: there is no such issue, or the token does not see it.
        """
        owner, _, name = repository.partition("/")
        variables = {"owner": owner, "name": name, "number": issue, "field": self.field}
        data = self._graphql.read(_ITEM, variables, passing_over=HIDDEN)
        row = mapping(mapping(data["repository"]).get("issue"))
        cards = cast("list[Json | None]", mapping(row.get("projectItems")).get("nodes") or [])
        project = self.columns().id
        card = next(
            (one for one in cards if one and mapping(one["project"]).get("id") == project), None
        )
        item = self._item(row, card)
        if item is None and row:
            raise BoardUnavailableError(f"The issue {issue} of {repository} cannot be read.")
        if item is None:
            raise MissingError(f"{repository} has no issue {issue} that can be read")
        return item

    def add(self, content_id: str) -> str:
        """Put an issue into the project, where it may be already, and return its card."""
        variables = {"project": self.columns().id, "content": content_id}
        data = self._graphql.write(_ADD, variables)
        return str(data["addProjectV2ItemById"]["item"]["id"])

    def put(self, card: str, option: str, after: str | None) -> None:
        """Put a card into a column, behind another card; None leaves its place as it is."""
        columns = self.columns()
        variables = {
            "project": columns.id,
            "item": card,
            "field": columns.field_id,
            "option": option,
        }
        if after is None or after == card:
            self._graphql.write(_SET, variables)
        else:
            try:
                self._graphql.write(_SET_AFTER, {**variables, "after": after})
            except (MissingError, RefusedValueError) as exc:  # what of: the column, or the place?
                try:
                    self._graphql.write(_SET, variables)
                except BoardUnavailableError:
                    raise AnswerLostError(f"The card may be in its column: {exc}") from exc

    # --- helpers ---

    def _item(self, row: Any, card: Json | None) -> Item | None:
        """Read one issue; None for what is none, or hidden from the token."""
        try:
            content = cast("Json", row)
            tell_hidden(mapping(row), self._told)
            repository = str(content["repository"]["nameWithOwner"])
            issue = Issue(
                int(content["number"]),
                str(content["title"]),
                TEXTS.read(content["body"])[0],
                tuple(str(label["name"]) for label in content["labels"]["nodes"]),
                tuple(str(user["login"]) for user in content["assignees"]["nodes"]),
                content["state"] == "OPEN",
                str(content["updatedAt"]),
                str(content["url"]),
                created_at=str(content["createdAt"]),
                author=mapping(content["author"]).get("login"),
            )
            return Item(
                self.ids.of(repository, issue.number),
                repository,
                str(content["id"]),
                issue,
                None if card is None else str(card["id"]),
                mapping((card or {}).get("fieldValueByName")).get("optionId"),
                tuple(self.ids.of(o.repository, o.number) for o in self._blockers.of(content)),
                parts_in(content),
                not (card and card["isArchived"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            if row:
                pass_over("a project", row, exc)
            return None

    def _load(self, _key: str) -> Columns:
        variables = {"owner": self.owner, "number": self.number, "field": self.field}
        try:
            data = self._graphql.read(_COLUMNS, variables)
        except MissingError as exc:
            raise self._invisible(str(exc)) from exc
        row = mapping(mapping(data["repositoryOwner"]).get("projectV2"))
        if not row:
            raise self._invisible("it is not there")
        field = mapping(row["field"])
        if "options" not in field:
            raise ConfigurationError(
                f"The project {self.owner}/{self.number} has no field {self.field!r} of the kind "
                "single select; name another one: GitHubProjectBoard(..., field=...)."
            )
        options = {str(option["name"]): str(option["id"]) for option in field["options"]}
        return Columns(
            str(row["id"]), str(row["url"]), str(field["id"]), options, bool(row["viewerCanUpdate"])
        )

    def _invisible(self, said: str) -> BoardAccessError:
        return BoardAccessError(
            f"The token's account cannot see the project {self.number} of {self.owner!r} on GitHub "
            f"({said}); check owner and number, and give the token the organization permission "
            "Projects: read and write (a classic token: the scope project)."
        )
