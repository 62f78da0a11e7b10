"""Reading and writing one card of Planka, and saying clearly why that cannot be done."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from athanore.errors import (
    BoardAccessError,
    BoardError,
    InvalidTaskError,
    QueueNotFoundError,
    TaskNotFoundError,
)
from athanore.models import Comment
from athanore.queue_adapters.planka_board import Board, Details, parse_comments
from athanore.queue_adapters.planka_client import (
    ConflictError,
    Json,
    MissingError,
    PlankaClient,
)
from athanore.queue_adapters.planka_queues import Place, Queues, is_id


class Cards:
    """The calls that concern one card; `queues` is told of every change."""

    def __init__(self, client: PlankaClient, queues: Queues) -> None:
        self._call = client.call
        self._api = client.api
        self._queues = queues

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
            self._call(self._api.getCard, task_id)
        except MissingError:
            return TaskNotFoundError(task_id)
        return BoardAccessError(
            f"The Planka user may read task {task_id!r} and not change it. "
            "Make the user an editor of its board; being an admin is not enough."
        )

    def read(self, task_id: str) -> tuple[Json, Details]:
        """Read a card as it is now, with what hangs on it; the names are on its board."""
        answer = self._call(self._api.getCard, task_id)
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
            if rows:
                page = self._call(self._api.getComments, card["id"], beforeId=rows[-1]["id"])
            else:
                page = self._call(self._api.getComments, card["id"])
            if not page["items"]:
                break
            rows += page["items"]
            users += page["included"]["users"]
        return parse_comments(rows, users)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment, in one request."""
        self._call(self._api.createComment, task_id, text=text)

    def create(self, place: Place, name: str, description: str) -> Json:
        """Create a card at the end of a list."""
        answer = self._call(
            self._api.createCard,
            place.column.id,
            type="project",
            name=name,
            description=description or None,
            position=place.board.end_of(place.column.id),
        )
        card: Json = answer["item"]
        self._queues.update(place.board.id, lambda board: board.with_card(card))
        return card

    def put(self, card: Json, place: Place) -> Json:
        """Move a card to the end of a list, in one request, and return it as it is then."""
        position = place.board.end_of(place.column.id)
        if card["boardId"] == place.board.id:
            answer = self._call(
                self._api.updateCard, card["id"], listId=place.column.id, position=position
            )
            moved: Json = answer["item"]
            self._queues.update(place.board.id, lambda board: board.with_card(moved))
            return moved
        answer = self._call(
            self._api.updateCard,
            card["id"],
            boardId=place.board.id,
            listId=place.column.id,
            position=position,
        )
        self._queues.forget(card["boardId"])
        self._queues.forget(place.board.id)
        return answer["item"]

    def set_fields(self, task_id: str, name: str | None, description: str | None) -> None:
        """Set name and description where they are given; an empty description is null there."""
        if name is not None and description is not None:
            self._call(self._api.updateCard, task_id, name=name, description=description or None)
        elif name is not None:
            self._call(self._api.updateCard, task_id, name=name)
        elif description is not None:
            self._call(self._api.updateCard, task_id, description=description or None)

    def set_labels(self, task_id: str, old: Sequence[str], new: Sequence[str]) -> None:
        """Add and remove the difference of two lists of label ids."""
        for label_id in [i for i in new if i not in old]:
            with suppress(ConflictError):  # a person was faster
                self._call(self._api.createCardLabel, task_id, labelId=label_id)
        for label_id in [i for i in old if i not in new]:
            with _gone_is_fine():
                self._call(self._api.deleteCardLabel, task_id, label_id)

    def set_members(self, task_id: str, old: Sequence[str], new: Sequence[str]) -> None:
        """Add and remove the difference of two lists of user ids."""
        for user_id in [i for i in new if i not in old]:
            with suppress(ConflictError):
                self.add_member(task_id, user_id)
        for user_id in [i for i in old if i not in new]:
            with _gone_is_fine():
                self.remove_member(task_id, user_id)

    def add_member(self, task_id: str, user_id: str) -> None:
        """Assign a user.

        Raises:
            ConflictError: the user is assigned already.
        """
        self._call(self._api.createCardMembership, task_id, userId=user_id)

    def remove_member(self, task_id: str, user_id: str) -> None:
        """Take a user off a card."""
        self._call(self._api.deleteCardMembership, task_id, user_id)


@contextmanager
def _gone_is_fine() -> Generator[None]:
    try:
        yield
    except MissingError as exc:
        if exc.what == "Card":
            raise
