"""Names of queues on Planka, `Project.Board.List`, and the lists that they mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    InvalidTaskError,
    QueueNotFoundError,
)
from athanore.http_client.cache import Cache
from athanore.queue_adapters.planka.board import Board, Column
from athanore.queue_adapters.planka.client import MissingError, PlankaClient
from athanore.queue_adapters.tracker.answers import ForeignAnswerError, Json

BOARD_MAX_AGE: Final = timedelta(seconds=1.5)
"""How old a board may be that a poll is answered from."""

NAMES_MAX_AGE: Final = timedelta(minutes=5)
"""How long names of projects and boards are believed; a name that is not found asks anew."""


def is_id(text: str) -> bool:
    """True for what can be an id of Planka: a positive number of 64 bits."""
    return bool(re.fullmatch(r"[1-9][0-9]{0,18}", text)) and int(text) < 2**63


class AmbiguousQueueError(QueueNotFoundError):
    """The name of a queue means several lists; `existing` lists names that mean one each."""

    def __init__(self, queue_name: str, existing: Sequence[str]) -> None:
        super().__init__(queue_name, existing)
        self.args = (
            f"The queue name {queue_name!r} means several lists. Use one of these instead: "
            f"{', '.join(map(repr, self.existing))}.",
        )


class UnknownBoardError(QueueNotFoundError):
    """The name of a queue begins with no board that the user may see."""

    def __init__(self, queue_name: str, boards: Sequence[str]) -> None:
        super().__init__(queue_name)
        self.boards = list(boards)
        self.args = (
            f"No board that the Planka user may see has the queue {queue_name!r}. Mend the name, "
            "which is 'Project.Board.List', or make the user an editor of the board. The user "
            f"sees: {', '.join(map(repr, self.boards)) or 'no boards'}.",
        )


@dataclass(frozen=True, slots=True)
class BoardRef:
    """A board that the user may see; `role` is editor, viewer, or None without a membership."""

    id: str
    name: str
    project_id: str
    project_name: str
    role: str | None

    @property
    def full_name(self) -> str:
        """`Project.Board`."""
        return f"{self.project_name}.{self.name}"

    def rest_of(self, queue_name: str) -> str | None:
        """The list's part of a queue's name, or None if it is on another board."""
        project, board = (self.project_name, self.project_id), (self.name, self.id)
        for prefix in (*(f"{p}.{b}." for p in project for b in board), f"{self.id}."):
            if queue_name.startswith(prefix) and len(queue_name) > len(prefix):
                return queue_name[len(prefix) :]
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """A list, and the board as it was read."""

    board: Board
    column: Column


class Queues:
    """Finds lists by name, and reads boards: each at most once in `BOARD_MAX_AGE`.

    A name may also be a list's id, have ids in place of its parts, or be just the list's, which
    is then looked for on the board of the task, or on the only board.
    """

    def __init__(self, client: PlankaClient, only: Sequence[str] | None) -> None:
        self._client = client
        self._only = None if only is None else set(only)
        self._boards = Cache(self._load_board, BOARD_MAX_AGE)
        self._refs = Cache(self._load_refs, NAMES_MAX_AGE)
        self._watched: dict[str, str] = {}
        self._watched_boards: dict[str, str] = {}
        self._list_ids: dict[str, tuple[str, str]] = {}  # board and list, by a queue's name
        self.forget = self._boards.forget
        self.forget_all = self._boards.clear
        self.update = self._boards.update

    def board(self, board_id: str) -> Board:
        """Read a board, from the cache if it is young enough.

        Raises:
            MissingError: the board is gone, or the user may not see it.
        """
        return self._boards.get(board_id)

    def fresh(self, board_id: str) -> Board:
        """Read a board anew."""
        self.forget(board_id)
        return self.board(board_id)

    def refs(self) -> Sequence[BoardRef]:
        """The boards that the user may see, project by project."""
        return self._refs.get("")

    def member_boards(self) -> list[Board]:
        """Read all boards that the user is a member of."""
        return [board for ref in self.refs() if ref.role and (board := self._board_if_there(ref))]

    def resolve(self, name: str, home: str | None = None) -> Place:
        """Find the list that a queue's name means; `home` is the id of the task's board.

        Raises:
            QueueNotFoundError: there is none, or several; the error lists the candidates.
        """
        places = self._find(name, home)
        if not places:
            self.check_watched()
            self._refs.forget("")
            for ref in self._candidates(name, home):
                self.forget(ref.id)
            places = self._find(name, home)
        if not places:
            raise self._not_found(name, home)
        if len(places) > 1:
            by_id = [f"{self.prefix(p.board)}.{p.column.id}" for p in places]
            raise AmbiguousQueueError(name, by_id)
        return places[0]

    def split(self, name: str) -> tuple[BoardRef, str]:
        """Find the board for a new queue, and what its list is to be called.

        Raises:
            InvalidTaskError: the name is empty, or begins with no board or with several.
        """
        refs = [(ref, rest) for ref in self.refs() if (rest := ref.rest_of(name))]
        if not refs and (only := self._only_ref()):
            refs = [(only, name)]
        if len(refs) != 1 or not refs[0][1].strip():
            boards = ", ".join(repr(ref.full_name) for ref in self.refs()) or "none"
            raise InvalidTaskError(
                f"A new queue is called 'Project.Board.List', and not {name!r}. Boards: {boards}."
            )
        return refs[0]

    def is_full(self, name: str) -> bool:
        """True for a name that needs no task's board to be understood."""
        return is_id(name) or any(ref.rest_of(name) for ref in self.refs())

    def rest_on(self, board: Board, new_name: str) -> str:
        """What a list of this board is to be called, given its full or its short new name.

        Raises:
            InvalidTaskError: the name is one on another board.
        """
        rests = {ref.id: rest for ref in self.refs() if (rest := ref.rest_of(new_name))}
        if rests and board.id not in rests:
            raise InvalidTaskError(
                f"{new_name!r} is on another board than {self.prefix(board)!r}; "
                "a queue stays on its board."
            )
        return rests.get(board.id, new_name)

    def name_of(self, board: Board, column: Column) -> str:
        """The name of a list: as it is watched, or the full one, with ids where needed."""
        if column in board.hidden:
            return f"{self.prefix(board)}.[{column.type}]"
        if watched := self._watched.get(column.id):
            return watched
        same = [c for c in board.queues if c.name == column.name]
        unique = column.name and len(same) == 1
        return f"{self.prefix(board)}.{column.name if unique else column.id}"

    def name_by_id(self, board: Board, column_id: str) -> str:
        """The name of the list with this id, which may be the archive or the trash."""
        column = next((c for c in (*board.queues, *board.hidden) if c.id == column_id), None)
        return self.name_of(board, column) if column else f"{self.prefix(board)}.{column_id}"

    def watch(self, name: str, place: Place) -> None:
        """Remember that a route calls the list so, and have its tasks say the same."""
        self._watched_boards[place.board.id] = self.prefix(place.board)
        self._list_ids[name] = (place.board.id, place.column.id)
        if name != self.name_of(place.board, place.column):
            self._watched.setdefault(place.column.id, name)

    def list_id(self, name: str) -> str | None:
        """The id of the list that a watched queue's name means; looked up if need be."""
        if name not in self._list_ids:
            try:
                place = self.resolve(name)
            except QueueNotFoundError:
                return None
            self._list_ids[name] = (place.board.id, place.column.id)
        return self._list_ids[name][1]

    def forget_names(self, board_id: str) -> None:
        """Have the lists of a board looked up again: one was made, renamed or deleted."""
        for name, (board, _) in list(self._list_ids.items()):
            if board == board_id:
                self._list_ids.pop(name, None)

    def check_watched(self) -> None:
        """Make sure that every board that was watched can still be seen.

        Planka answers 404 for a board that the user was removed from, as for one that is gone.

        Raises:
            BoardAccessError: one cannot; what seems to be gone may be on it.
        """
        for board_id, name in list(self._watched_boards.items()):
            try:
                self.fresh(board_id)
            except MissingError as exc:
                raise BoardAccessError(
                    f"The Planka user cannot see the board {name!r} any more. Make the user an "
                    "editor of it again; if the board was deleted, take its routes away and "
                    "restart Athanore."
                ) from exc

    # A list's change whose answer was lost is looked for: what was done has succeeded.

    def create(self, board: Board, name: str) -> Place:
        """Create an active list to the right of the others of a board."""
        lost: AnswerLostError | None = None
        position = board.end_of_queues()
        try:
            body = {"name": name, "type": "active", "position": position}
            self._client.write("POST", f"boards/{board.id}/lists", body)
        except AnswerLostError as exc:
            lost = exc
        now = self.fresh(board.id)
        column = next((c for c in now.queues if c.name == name), None)
        if column is None:
            raise lost or QueueNotFoundError(name)
        return Place(now, column)

    def rename(self, place: Place, name: str) -> None:
        """Rename a list."""
        try:
            self._client.write("PATCH", f"lists/{place.column.id}", {"name": name})
        except AnswerLostError:
            now = self.fresh(place.board.id).queues
            if (place.column.id, name) not in [(c.id, c.name) for c in now]:
                raise
        self._watched.pop(place.column.id, None)

    def delete(self, place: Place) -> list[Json]:
        """Delete a list, and return the cards that went to the trash with it."""
        trashed: list[Json] = []
        try:
            answer = self._client.write("DELETE", f"lists/{place.column.id}")
            trashed = answer.get("included", {}).get("cards", [])
        except AnswerLostError:
            now = self.fresh(place.board.id).queues
            if any(column.id == place.column.id for column in now):
                raise
        self._watched.pop(place.column.id, None)
        self.forget(place.board.id)
        return trashed

    def _find(self, name: str, home: str | None) -> list[Place]:
        for tier in self._tiers(name, home):
            places = [place for ref, part in tier for place in self._on_board(ref, part)]
            if places:
                return list({place.column.id: place for place in places}.values())
        return []

    def _tiers(self, name: str, home: str | None) -> list[list[tuple[BoardRef, str]]]:
        """Where to look for a name, and what the list is called there; the first hit counts."""
        refs = self.refs()
        full = [(ref, rest) for ref in refs if (rest := ref.rest_of(name))]
        near = next((ref for ref in refs if ref.id == home), None) or self._only_ref()
        anywhere = [*refs] if is_id(name) else []
        return [full, [(near, name)] if near else [], [(ref, name) for ref in anywhere]]

    def _on_board(self, ref: BoardRef, part: str) -> list[Place]:
        board = self._board_if_there(ref)
        return [Place(board, c) for c in board.queues if part in (c.id, c.name)] if board else []

    def _board_if_there(self, ref: BoardRef) -> Board | None:
        try:
            return self.board(ref.id)
        except MissingError:  # deleted, or the user was removed from it
            self._refs.forget("")
            return None

    def _candidates(self, name: str, home: str | None) -> list[BoardRef]:
        return list(dict.fromkeys(ref for tier in self._tiers(name, home) for ref, _ in tier))

    def _not_found(self, name: str, home: str | None) -> QueueNotFoundError:
        if name.count(".") >= 2 and not self.is_full(name):
            return UnknownBoardError(name, [ref.full_name for ref in self.refs()])
        boards = [self._board_if_there(ref) for ref in self._candidates(name, home)]
        existing = [self.name_of(b, column) for b in boards if b for column in b.queues]
        if existing:
            return QueueNotFoundError(name, existing)
        return UnknownBoardError(name, [ref.full_name for ref in self.refs()])

    def _only_ref(self) -> BoardRef | None:
        mine = [ref for ref in self.refs() if ref.role]
        return mine[0] if len(mine) == 1 else None

    def prefix(self, board: Board) -> str:
        """`Project.Board`, or the board's id where other boards are called the same."""
        times = Counter(ref.full_name for ref in self.refs())
        ref = next((ref for ref in self.refs() if ref.id == board.id), None)
        return ref.full_name if ref and times[ref.full_name] == 1 else board.id

    def _load_board(self, board_id: str) -> Board:
        answer = self._client.get(f"boards/{board_id}")
        try:
            return Board.parse(answer, self._client.url)
        except (KeyError, TypeError, ValueError) as exc:
            raise ForeignAnswerError(f"Planka's board {board_id} cannot be read: {exc!r}.") from exc

    def _load_refs(self, _key: str) -> Sequence[BoardRef]:
        answer = self._client.get("projects")
        try:
            refs = _parse_refs(answer)
        except (KeyError, TypeError, ValueError) as exc:
            raise ForeignAnswerError(f"Planka's list of projects cannot be read: {exc!r}.") from exc
        if self._only is None:
            return refs
        return [ref for ref in refs if {ref.id, ref.full_name} & self._only]


def _parse_refs(answer: Json) -> list[BoardRef]:
    """Read the list of projects; its board memberships are the user's own."""
    included = answer["included"]
    projects = {row["id"]: row["name"] for row in answer["items"]}
    roles = {row["boardId"]: row["role"] for row in included["boardMemberships"]}
    rows = [row for row in included["boards"] if row["projectId"] in projects]
    order = list(projects)
    rows.sort(key=lambda r: (order.index(r["projectId"]), r["position"], int(r["id"])))
    return [
        BoardRef(r["id"], r["name"], r["projectId"], projects[r["projectId"]], roles.get(r["id"]))
        for r in rows
    ]
