"""Reading and writing one card of Planka, and saying clearly why that cannot be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    InvalidTaskError,
    QueueNotFoundError,
    TaskNotFoundError,
)
from athanore.models import Comment
from athanore.queue_adapters.lost_answers import still_lost
from athanore.queue_adapters.planka.account import Account
from athanore.queue_adapters.planka.board import Board, Details, parse_comments
from athanore.queue_adapters.planka.client import ConflictError, Json, MissingError, PlankaClient
from athanore.queue_adapters.planka.queues import Place, Queues, is_id
from athanore.queue_adapters.planka.texts import TEXTS
from athanore.queue_adapters.planka.webhook import CardRow
from athanore.queue_adapters.tracker.looking import Writes, look
from athanore.queue_adapters.tracker.picture import OwnWrites

_SLACK: Final = timedelta(minutes=1)
"""How much older than its sending a comment may seem: two clocks of Planka's may differ."""


class Cards:
    """The calls that concern one card; `queues` is told of every change.

    Where the answer to a write is lost, the card is read: a write that was done has succeeded.

    Attributes:
        own: the cards that were written a moment ago.
    """

    def __init__(self, client: PlankaClient, queues: Queues, account: Account) -> None:
        self._account = account
        self._client = client
        self._queues = queues
        self._writes = Writes()
        self.own = OwnWrites[CardRow](time.monotonic)

    @contextmanager
    def about(self, task_id: str, queue_name: str = "") -> Generator[None]:
        """Turn what Planka does not find, or does not let us change, into Athanore's errors.

        Raises:
            TaskNotFoundError: there is no such card, or `task_id` can be no id.
            QueueNotFoundError: the list of `queue_name` is gone.
            BoardAccessError: the card can be read, and not changed.
        """
        if not is_id(task_id):  # it would become part of an address
            raise TaskNotFoundError(task_id)
        try:
            yield
        except MissingError as exc:
            if exc.what == "List" and queue_name:
                raise QueueNotFoundError(queue_name) from exc
            if exc.what in ("Label", "User"):
                raise InvalidTaskError(f"{exc} Is it still on the board?") from exc
            raise self._why_missing(task_id) from exc

    def _why_missing(self, task_id: str) -> BoardError:
        try:
            self._client.get(f"cards/{task_id}")
        except MissingError:
            self._queues.check_watched()  # Planka answers 404 for what may not be seen, too
            return TaskNotFoundError(task_id)
        return BoardAccessError(
            f"The Planka user may read task {task_id!r} and not change it. "
            "Make the user an editor of its board; being an admin is not enough."
        )

    def read(self, task_id: str) -> tuple[Json, Details]:
        """Read a card as it is now, with what hangs on it; the names are on its board."""
        answer = self._client.get(f"cards/{task_id}")
        return answer["item"], Details.parse(answer["included"])

    def board_of(self, card: Json, details: Details) -> Board:
        """The card's board, read anew if it does not know a list, label or user of the card."""
        board = self._queues.board(card["boardId"])
        lists = {column.id for column in (*board.queues, *board.hidden)}
        known = lists | set(board.labels) | set(board.users)
        hung = (*details.labels.get(card["id"], ()), *details.members.get(card["id"], ()))
        if known.issuperset((card["listId"], *hung)):
            return board
        return self._queues.fresh(card["boardId"])

    def comments(self, card: Json) -> tuple[Comment, ...]:
        """Read all comments, oldest first; Planka gives them newest first, page by page."""
        total = card.get("commentsTotal")
        rows: list[Json] = []
        users: list[Json] = []
        while total is None or len(rows) < total:
            page = self._client.get(
                f"cards/{card['id']}/comments", {"beforeId": rows[-1]["id"]} if rows else None
            )
            if not page["items"]:
                break
            rows += page["items"]
            users += page["included"]["users"]
        return parse_comments(rows, users)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment, in one request; it is looked for if the answer is lost.

        It carries no mark, because Planka would show it. It is found by its words, its author and
        its age, all by Planka's own clock.
        """
        path, written = f"cards/{task_id}/comments", TEXTS.body(text)

        def send(_: float) -> None:
            self._client.write("POST", path, {"text": written})

        def find(sent: float) -> bool | None:
            found, now = self._client.get_dated(path)
            since = now - timedelta(seconds=time.monotonic() - sent) - _SLACK
            ours = (r for r in found["items"] if r["userId"] == self._account.id)
            same = (r["createdAt"] for r in ours if r["text"] == written)
            return any(datetime.fromisoformat(created) > since for created in same) or None

        self._writes.comment(task_id, text, time.monotonic, send, find)

    def create(self, place: Place, name: str, description: str) -> Json:
        """Create a card at the end of a list."""
        body = {
            "type": "project",
            "name": TEXTS.title(name),
            "description": TEXTS.body(description) or None,
            "position": place.board.end_of(place.column.id),
        }

        def send(_: Collection[str]) -> Json:
            card: Json = self._client.write("POST", f"lists/{place.column.id}/cards", body)["item"]
            return card

        card = self._writes.task(
            place.column.id,
            name,
            description,
            lambda: frozenset(place.board.cards),
            send,
            lambda known: self._created(place, body, known),
            tries=1,
        )
        self._queues.update(place.board.id, lambda board: board.with_card(card))
        self.own.wrote(CardRow(card))
        return card

    def _created(self, place: Place, body: Json, known: Collection[str]) -> Json | None:
        """The card that we have made in a list, which was not known before, if it is there."""
        for card in self._queues.fresh(place.board.id).cards_in(place.column.id):
            same = all((card.get(key) or None) == body[key] for key in ("name", "description"))
            ours = card.get("creatorUserId") == self._account.id
            if same and ours and card["id"] not in known:
                return card
        return None

    def put(self, card: Json, place: Place) -> Json:
        """Move a card to the end of a list, in one request, and return it as it is then."""
        position = place.board.end_of(place.column.id)
        if card["boardId"] == place.board.id:
            moved = self._set(card["id"], listId=place.column.id, position=position)
            self._queues.update(place.board.id, lambda board: board.with_card(moved))
            return moved
        try:
            return self._set(
                card["id"], boardId=place.board.id, listId=place.column.id, position=position
            )
        finally:
            self._queues.forget(card["boardId"])
            self._queues.forget(place.board.id)

    def _set(self, task_id: str, **values: Any) -> Json:
        """Set fields of a card, and return it as it is then."""
        card = self._write_fields(task_id, values)
        self.own.wrote(CardRow(card))
        return card

    def _write_fields(self, task_id: str, values: Json) -> Json:
        try:
            return self._client.write("PATCH", f"cards/{task_id}", values)["item"]
        except AnswerLostError as lost:
            # The position is left out: only the list counts, and Planka may have changed it.
            wanted = values.keys() - {"position"}

            def done() -> Json | None:
                card, _ = self.read(task_id)
                return card if all(card.get(key) == values[key] for key in wanted) else None

            with still_lost(lost):
                card = look(lost, done)
            if card is None:
                raise
            return card

    def set_fields(self, task_id: str, name: str | None, description: str | None) -> None:
        """Set name and description where they are given; an empty description is null there."""
        values: Json = {}
        if name is not None:
            values["name"] = TEXTS.title(name)
        if description is not None:
            values["description"] = TEXTS.body(description) or None
        if values:
            self._set(task_id, **values)

    def set_labels(self, task_id: str, old: Sequence[str], new: Sequence[str]) -> None:
        """Add and remove the difference of two lists of label ids."""
        for label_id in [i for i in new if i not in old]:
            with suppress(ConflictError):  # a person was faster
                _twice(
                    lambda i=label_id: self._client.write(
                        "POST", f"cards/{task_id}/card-labels", {"labelId": i}
                    )
                )
        for label_id in [i for i in old if i not in new]:
            with _gone_is_fine():
                _twice(
                    lambda i=label_id: self._client.write(
                        "DELETE", f"cards/{task_id}/card-labels/labelId:{i}"
                    )
                )

    def set_members(self, task_id: str, old: Sequence[str], new: Sequence[str]) -> None:
        """Add and remove the difference of two lists of user ids."""
        for user_id in [i for i in new if i not in old]:
            with suppress(ConflictError):
                _twice(lambda i=user_id: self.add_member(task_id, i))
        for user_id in [i for i in old if i not in new]:
            with _gone_is_fine():
                _twice(lambda i=user_id: self.remove_member(task_id, i))

    def add_member(self, task_id: str, user_id: str) -> None:
        """Assign a user.

        Raises:
            ConflictError: the user is assigned already.
            AnswerLostError: the user may be assigned now.
        """
        self._client.write("POST", f"cards/{task_id}/card-memberships", {"userId": user_id})

    def remove_member(self, task_id: str, user_id: str) -> None:
        """Take a user off a card."""
        self._client.write("DELETE", f"cards/{task_id}/card-memberships/userId:{user_id}")


def _twice(write: Callable[[], object]) -> None:
    """Do what changes nothing the second time again, if its answer was lost."""
    try:
        write()
    except AnswerLostError:
        write()


@contextmanager
def _gone_is_fine() -> Generator[None]:
    try:
        yield
    except MissingError as exc:
        if exc.what == "Card":
            raise
