"""The eleven methods of `QueueAdapter` on Planka, and claim, user, preparation and webhooks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    ConfigurationError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
)
from athanore.models import BoardIdentity, Queue, Task
from athanore.queue_adapters.planka.account import Account
from athanore.queue_adapters.planka.board import Board, Details
from athanore.queue_adapters.planka.cards import Cards
from athanore.queue_adapters.planka.client import ConflictError, MissingError, PlankaClient
from athanore.queue_adapters.planka.queues import (
    AmbiguousQueueError,
    Place,
    Queues,
    UnknownBoardError,
)
from athanore.queue_adapters.planka.webhook import read_change
from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.checks import check_comment, check_name

logger = logging.getLogger(__name__)

_CLAIM_SETTLES = 0.3
"""Seconds in which another process makes the second write of its claim."""

SECRET_ENV: Final = frozenset({"PLANKA_TOKEN", "PLANKA_USER", "PLANKA_PASSWORD"})


class PlankaAdapter:
    """One user's view of a Planka server; made by `PlankaBackend`.

    A poll costs one request for each board, shared with all that ask within 1.5 seconds; a move
    or a comment costs one. Positions of parallel moves can be equal: ids then decide the order.
    """

    def __init__(self, client: PlankaClient, *, boards: Sequence[str] | None = None) -> None:
        self._client = client
        self._account = Account(client)
        self._queues = Queues(client, boards)
        self._cards = Cards(client, self._queues, self._account)
        self._claims = threading.Lock()

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    # --- who we are ---

    @property
    def user(self) -> str | None:
        """The name of the user whose credentials these are; the first time costs a request."""
        return self._account.name

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that credentials may stand in."""
        return SECRET_ENV

    @property
    def secrets(self) -> frozenset[str]:
        """The credentials, also those that were given in the code."""
        return self._client.secrets

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check version, credentials, and that the user may work on the boards of these queues.

        Boards and lists are never made here; a list that is missing shows when it is polled.

        Raises:
            ConfigurationError: this is no Planka 2, or a name means several lists.
            BoardAccessError: the credentials, or the user's membership of a board, are wrong.
        """
        self._account.check_version()
        if not any(ref.role for ref in self._queues.refs()):
            raise BoardAccessError(
                f"The Planka user {self.user!r} is not a member of any board. "
                "Make the user an editor of the boards that Athanore is to work on."
            )
        for name in queue_names:
            try:
                place = self._queues.resolve(name)
            except UnknownBoardError as exc:
                if name.count(".") >= 2:  # else it is short, and meant on the task's board
                    raise BoardAccessError(str(exc)) from exc
            except AmbiguousQueueError as exc:
                raise ConfigurationError(str(exc)) from exc
            except QueueNotFoundError:
                continue
            else:
                self._check_editor(place.board)
                self._queues.watch(name, place)

    def board_identity(self) -> BoardIdentity:
        """Tell the boards by Planka's ids, which do not depend on the address of the server."""
        boards = sorted(ref.id for ref in self._queues.refs() if ref.role)
        return BoardIdentity(tuple(f"planka:{id_}" for id_ in boards), self._client.url)

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open cards of active lists, with checklists and without comments."""
        places = {name: self._queues.resolve(name) for name in queue_names}
        boards = {place.board.id: place.board for place in places.values()}
        tasks: list[Task] = []
        for name, place in places.items():
            board = boards[place.board.id]
            self._check_editor(board)
            self._queues.watch(name, place)
            if place.column.type == "active":
                shown = self._queues.name_of(board, place.column)
                cards = [c for c in board.cards_in(place.column.id) if not c.get("isClosed")]
                tasks += [board.task(card, shown) for card in cards]
        return tasks

    def get_task(self, task_id: str) -> Task:
        """Return one card whole, as it is now."""
        with self._cards.about(task_id):
            card, details = self._cards.read(task_id)
            board = self._cards.board_of(card, details)
            shown = self._queues.name_by_id(board, card["listId"])
            return board.task(card, shown, details, self._cards.comments(card))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Move a card to the end of a list, on its own board or on another."""
        with self._cards.about(task_id, target_queue):
            if self._queues.is_full(target_queue):
                place = self._queues.resolve(target_queue)
                card = place.board.cards.get(task_id)
            else:
                card, _ = self._cards.read(task_id)
                place = self._queues.resolve(target_queue, card["boardId"])
            if card is None or card["listId"] == place.column.id:
                # What the board was a second ago is no reason to leave the card where it is.
                card, _ = self._cards.read(task_id)
            if card["listId"] != place.column.id:
                self._cards.put(card, place)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment, which the account of the credentials signs.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        check_comment(task_id, text)
        with self._cards.about(task_id):
            self._cards.add_comment(task_id, text)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields; labels and assignees must be known on the board."""
        if name is not None:
            check_name(name)
        with self._cards.about(task_id):
            card, details = self._cards.read(task_id)
            board_id: str = card["boardId"]
            old_labels = details.labels.get(task_id, ())
            old_members = details.members.get(task_id, ())
            new_labels, new_members = old_labels, old_members
            if labels is not None or assignees is not None:
                board = self._queues.fresh(board_id)
                new_labels = old_labels if labels is None else board.label_ids(labels)
                new_members = old_members if assignees is None else board.user_ids(assignees)
            try:
                self._cards.set_fields(task_id, name, description)
                self._cards.set_labels(task_id, old_labels, new_labels)
                self._cards.set_members(task_id, old_members, new_members)
            finally:
                self._queues.forget(board_id)
        return self.get_task(task_id)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Create a card at the end of a list."""
        check_name(name)
        place = self._queues.resolve(queue_name)
        with self._about_place(queue_name, place):
            card = self._cards.create(place, name, description)
        return place.board.task(card, self._queues.name_of(place.board, place.column))

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Check that a fresh read has the card in its source list, assign it, and move it.

        Planka has no compare-and-set. Between claims of this process exactly one wins. Between
        processes it does too while the assignee is not on the card yet, because Planka takes a
        member only once; a card that has the member already is read once more after a moment, in
        case another process has just put it there. What remains is the time from the read to the
        move, some milliseconds, for a person's move, and for another process where the assignee
        was on the card before.

        A lost answer is looked into: a card that is in the target list then is claimed.

        Raises:
            AnswerLostError: Planka could not be asked whether the card was moved.
        """
        with self._claims, self._cards.about(task_id, target_queue):
            card, details = self._cards.read(task_id)
            board = self._cards.board_of(card, details)
            source = self._queues.resolve(source_queue, board.id)
            target = self._queues.resolve(target_queue, board.id)
            self._check_source(card, board, source, source_queue)
            user_id = self._assignee_id(board, assignee)
            if user_id is not None and user_id in details.members.get(task_id, ()):
                # Assigned since long ago, or another process is between its two writes.
                time.sleep(_CLAIM_SETTLES)
                card, details = self._cards.read(task_id)
                self._check_source(card, board, source, source_queue)
            comments = self._cards.comments(card)  # before the writes: after them nothing may fail
            shown = self._queues.name_of(target.board, target.column)
            members = list(details.members.get(task_id, ()))
            if user_id is None or user_id in members:
                card = self._cards.put(card, target)
            else:
                card = self._assign_and_put(card, user_id, source_queue, target_queue, target)
                members.append(user_id)
            details = Details(details.labels, {task_id: members}, details.checklists)
            return target.board.task(card, shown, details, comments)

    def _check_source(self, card: Json, board: Board, source: Place, source_queue: str) -> None:
        if card["listId"] != source.column.id:
            actual = self._queues.name_by_id(board, card["listId"])
            raise TaskMovedError(card["id"], expected=source_queue, actual=actual)

    def _assign_and_put(
        self, card: Json, user_id: str, source_queue: str, target_queue: str, target: Place
    ) -> Json:
        task_id: str = card["id"]
        try:
            self._cards.add_member(task_id, user_id)
        except ConflictError as exc:  # since our read, by a claim of another process
            raise TaskMovedError(task_id, expected=source_queue, actual=target_queue) from exc
        except AnswerLostError as exc:
            self._check_assigned(card, user_id, source_queue, exc)
        finally:
            self._queues.forget(card["boardId"])
        try:
            return self._cards.put(card, target)
        except AnswerLostError:  # the card may be ours: the next claim looks
            raise
        except BoardError:
            with suppress(BoardError):
                self._cards.remove_member(task_id, user_id)
            raise

    def _check_assigned(
        self, card: Json, user_id: str, source_queue: str, lost: AnswerLostError
    ) -> None:
        """See whether an assignment was made of which the answer was lost, and is our claim's."""
        time.sleep(_CLAIM_SETTLES)  # were it another process's, its move would follow now
        now, details = self._cards.read(card["id"])
        board = self._cards.board_of(now, details)
        self._check_source(now, board, self._queues.resolve(source_queue, board.id), source_queue)
        if user_id not in details.members.get(card["id"], ()):
            raise BoardUnavailableError(str(lost)) from lost  # a second assignment does no harm

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return the active and closed lists of all boards that the user is a member of."""
        boards = self._queues.member_boards()
        return [self._queue(Place(board, c)) for board in boards for c in board.queues]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one list."""
        return self._queue(self._queues.resolve(queue_name))

    def create_queue(self, queue_name: str) -> Queue:
        """Create an active list to the right of the others of its board."""
        ref, name = self._queues.split(queue_name)
        board = self._queues.fresh(ref.id)
        self._check_editor(board)
        if any(column.name == name for column in board.queues):
            raise QueueExistsError(queue_name)
        return self._queue(self._queues.create(board, name))

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename a list; `new_name` is a full name on the same board, or just the list's."""
        place = self._fresh_place(queue_name)
        name = self._queues.rest_on(place.board, new_name)
        check_name(name)
        if name != place.column.name:
            if any(column.name == name for column in place.board.queues):
                raise QueueExistsError(new_name)
            with self._about_place(queue_name, place):
                self._queues.rename(place, name)
        board = self._queues.fresh(place.board.id)
        return self._queue(self._queues.resolve(place.column.id, board.id))

    def delete_queue(self, queue_name: str) -> None:
        """Delete an empty list.

        A card that a person puts there in the same moment goes to the trash; the log names it.
        """
        place = self._fresh_place(queue_name)
        if count := len(place.board.cards_in(place.column.id)):
            raise QueueNotEmptyError(queue_name, count)
        with self._about_place(queue_name, place):
            trashed = self._queues.delete(place)
        for card in trashed:
            logger.error(
                "The card %s was put into the list %r while it was deleted, and is in the trash",
                card.get("id"),
                queue_name,
                extra={"action": "planka_card_trashed"},
            )

    # --- webhooks ---

    def affected_queues(self, payload: object, queue_names: Sequence[str]) -> list[str]:
        """Say which of the queues a webhook's payload may have changed; none if it was us.

        Our own change is told by what was written, not by who: the key may be a person's. Their
        boards are read anew by the next poll. A payload that makes no sense affects none. A card
        in a list that nobody watches costs no request.

        Raises:
            BoardUnavailableError: Planka did not answer.
        """
        change = read_change(payload)
        boards = change.boards
        if not boards or (change.written is not None and self._cards.own.is_own(change.written)):
            return []
        if not change.is_of_a_card:  # a list itself may have another name now
            for board_id in boards:
                self._queues.forget(board_id)
                self._queues.forget_names(board_id)
        affected = [name for name in queue_names if self._queues.list_id(name) in change.lists]
        if affected:
            for board_id in boards:
                self._queues.forget(board_id)
        return affected

    def forget_picture(self) -> None:
        """Have the next poll read its boards."""
        self._queues.forget_all()

    # --- helpers ---

    def _assignee_id(self, board: Board, assignee: str | None) -> str | None:
        if assignee is None:
            return None
        return self._account.id if assignee == self.user else board.user_ids([assignee])[0]

    def _queue(self, place: Place) -> Queue:
        count = len(place.board.cards_in(place.column.id))
        name = self._queues.name_of(place.board, place.column)
        return Queue(name, count, is_open=place.column.type == "active")

    def _fresh_place(self, queue_name: str) -> Place:
        board_id = self._queues.resolve(queue_name).board.id
        self._queues.forget(board_id)
        place = self._queues.resolve(queue_name)
        self._check_editor(place.board)
        return place

    def _check_editor(self, board: Board) -> None:
        self._account.check_editor(board, self._queues.prefix(board))

    @contextmanager
    def _about_place(self, queue_name: str, place: Place) -> Generator[None]:
        """Say why Planka does not find a list that was there a moment ago."""
        try:
            yield
        except MissingError as exc:
            self._queues.forget(place.board.id)
            self._check_editor(self._queues.resolve(queue_name).board)
            raise QueueNotFoundError(queue_name) from exc
