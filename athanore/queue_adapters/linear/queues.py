"""The queues of a board on Linear: the workflow states of its team."""

from __future__ import annotations

from collections import Counter
from typing import Final

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    QueueExistsError,
    QueueNotEmptyError,
)
from athanore.models import Queue
from athanore.queue_adapters.linear import documents
from athanore.queue_adapters.linear.client import LinearClient
from athanore.queue_adapters.linear.reading import Issues
from athanore.queue_adapters.linear.team import State, Team
from athanore.queue_adapters.tracker.answers import Json, RefusedValueError
from athanore.queue_adapters.tracker.checks import check_name

_COLOUR: Final = "#5e6ad2"


class LinearQueues:
    """The methods of `QueueAdapter` that are about queues."""

    def __init__(self, client: LinearClient, team: Team, issues: Issues) -> None:
        self._client = client
        self._team = team
        self._issues = issues

    def list_queues(self) -> list[Queue]:
        """Return the states in the order of the board, and how many open issues are in each."""
        counts = Counter(issue.state for issue in self._issues.listed())
        states = self._team.facts().states
        return [Queue(state.name, counts[state.id], state.is_open) for state in states]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one state."""
        name = self._team.state(queue_name).name
        return next(queue for queue in self.list_queues() if queue.name == name)

    def create_queue(self, queue_name: str) -> Queue:
        """Make a state of the type "started", after the others of that type."""
        check_name(queue_name)
        facts = self._team.facts(anew=True)
        if facts.named(queue_name):
            raise QueueExistsError(queue_name)
        last = max((s.position for s in facts.states if s.type == "started"), default=0.0)
        values = {
            "teamId": facts.id,
            "name": queue_name,
            "type": "started",
            "color": _COLOUR,
            "position": last + 1,
        }
        self._change_states(documents.ADD_STATE, {"input": values}, queue_name)
        return self.get_queue(queue_name)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename a state; its issues stay in it."""
        state = self._known(queue_name)
        check_name(new_name)
        if new_name != state.name:
            if self._team.facts().named(new_name):
                raise QueueExistsError(new_name)
            values: Json = {"id": state.id, "input": {"name": new_name}}
            self._change_states(documents.RENAME_STATE, values, new_name)
        return self.get_queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        """Put a state into the archive, which Linear allows where no issue is in it."""
        state = self._known(queue_name)
        self._issues.picture.expire()
        if count := self.get_queue(queue_name).task_count:
            raise QueueNotEmptyError(queue_name, count)
        try:
            self._client.write(documents.ARCHIVE_STATE, id=state.id)
        except AnswerLostError:
            if self._team.facts(anew=True).named(queue_name) is not None:
                raise
        self._team.facts(anew=True)

    def _known(self, queue_name: str) -> State:
        self._team.facts(anew=True)
        return self._team.state(queue_name)

    def _change_states(self, document: str, values: Json, name: str) -> None:
        try:
            self._client.write(document, **values)
        except AnswerLostError:
            if self._team.facts(anew=True).named(name) is None:
                raise
        except RefusedValueError as exc:
            if self._team.facts(anew=True).named(name) is not None:
                raise QueueExistsError(name) from exc
            raise
        except BoardAccessError as exc:
            raise BoardAccessError(
                f"{exc} States may be the business of the team's owners: make {name!r} in Linear."
            ) from exc
        self._team.facts(anew=True)
