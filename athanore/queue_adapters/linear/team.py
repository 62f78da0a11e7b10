"""The team whose board it is: its states, its people, its labels, and who we are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from athanore.errors import BoardAccessError, InvalidTaskError, QueueNotFoundError
from athanore.http_client.cache import Cache
from athanore.queue_adapters.linear import documents
from athanore.queue_adapters.linear.client import LinearClient
from athanore.queue_adapters.linear.issues import CLOSED
from athanore.queue_adapters.tracker.answers import Json

MAX_AGE: Final = timedelta(minutes=5)
"""How long states, people and labels are believed; one that is not known has them read anew."""

_TYPES: Final = (
    "triage",
    "backlog",
    "unstarted",
    "started",
    "completed",
    "canceled",
    "duplicate",
)
"""Types of states, in the order of Linear's boards."""


@dataclass(frozen=True, slots=True)
class State:
    """One workflow state of the team, which is a queue."""

    id: str
    name: str
    type: str
    position: float

    @property
    def is_open(self) -> bool:
        """Whether issues in it are still to be done."""
        return self.type not in CLOSED


@dataclass(frozen=True, slots=True)
class Person:
    """A user; an app's is delegated to, and never the assignee."""

    id: str
    name: str
    is_app: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of the team; `states` are in board order."""

    id: str
    key: str
    me: Person
    states: tuple[State, ...]
    people: Mapping[str, Person]
    labels: Mapping[str, str]
    groups: frozenset[str]

    def state(self, state_id: str) -> State | None:
        """The state with an id."""
        return next((state for state in self.states if state.id == state_id), None)

    def named(self, queue: str) -> State | None:
        """The state that a queue is."""
        return next((state for state in self.states if state.name == queue), None)

    def label_id(self, name: str) -> str | None:
        """The id of a label that issues may have; one with just these letters first."""
        usable = {id_: n for id_, n in self.labels.items() if id_ not in self.groups}
        for fold in (str, str.casefold):
            found = (id_ for id_, own in usable.items() if fold(own) == fold(name))
            if (first := next(found, None)) is not None:
                return first
        return None


class Team:
    """Reads the team of a key, when it is needed."""

    def __init__(self, client: LinearClient, key: str) -> None:
        self.key = key
        self._client = client
        self._cache = Cache(self._load, MAX_AGE)

    def facts(self, *, anew: bool = False) -> Facts:
        """What is known of the team.

        Raises:
            BoardAccessError: there is no such team, or the key's user does not see it.
        """
        if anew:
            self._cache.forget("")
        return self._cache.get("")

    def state(self, queue: str) -> State:
        """The state that a queue is.

        Raises:
            QueueNotFoundError: there is none.
        """
        found = self.facts().named(queue) or self.facts(anew=True).named(queue)
        if found is None:
            raise QueueNotFoundError(queue, [state.name for state in self.facts().states])
        return found

    def labels(self, label_ids: Iterable[str]) -> list[str]:
        """The names of labels, in order of the alphabet."""
        ids = list(label_ids)
        facts = self.facts()
        if any(id_ not in facts.labels for id_ in ids):
            facts = self.facts(anew=True)
        return sorted(facts.labels[id_] for id_ in ids if id_ in facts.labels)

    def label_id(self, name: str) -> str:
        """The id of a label, which is made for the team if there is none."""
        found = self.facts().label_id(name) or self.facts(anew=True).label_id(name)
        if found is not None:
            return found
        if not name.strip():
            raise InvalidTaskError(f"A label must have a name; it was {name!r}.")
        values = {"name": name, "teamId": self.facts().id}
        self._client.write(documents.ADD_LABEL, input=values)
        found = self.facts(anew=True).label_id(name)
        if found is None:
            raise InvalidTaskError(f"Linear made the label {name!r}, and does not list it yet.")
        return found

    def person(self, name: str) -> Person:
        """A member of the team, by the display name.

        Raises:
            InvalidTaskError: there is none.
        """
        for anew in (False, True):
            facts = self.facts(anew=anew)
            if name in facts.people:
                return facts.people[name]
            if name == facts.me.name:
                return facts.me
        raise InvalidTaskError(
            f"Nobody in Linear's team {self.key} is called {name!r}; use a display name."
        )

    def _load(self, _key: str) -> Facts:
        data = self._client.read(documents.TEAM, key=self.key)
        teams = cast("list[Json]", data["teams"]["nodes"])
        if not teams:
            raise BoardAccessError(
                f"Linear has no team with the key {self.key!r} that the key's user "
                f"{data['viewer']['displayName']!r} may see; the key of a team stands before its "
                "issues' numbers (ENG-12), and the user must be a member of a private team."
            )
        labels = list(self._client.nodes(documents.LABELS, {"key": self.key}, "issueLabels"))
        states = [
            State(str(row["id"]), str(row["name"]), str(row["type"]), float(row["position"]))
            for row in teams[0]["states"]["nodes"]
        ]
        people = [_person(row) for row in teams[0]["members"]["nodes"]]
        return Facts(
            str(teams[0]["id"]),
            str(teams[0]["key"]),
            _person(data["viewer"]),
            tuple(sorted(states, key=_place)),
            {person.name: person for person in people},
            {str(row["id"]): str(row["name"]) for row in labels},
            frozenset(str(row["id"]) for row in labels if row["isGroup"]),
        )


def _person(row: Json) -> Person:
    return Person(str(row["id"]), str(row["displayName"]), bool(row["app"]))


def _place(state: State) -> tuple[int, float]:
    known = state.type in _TYPES
    return (_TYPES.index(state.type) if known else len(_TYPES), state.position)
