"""Whose credentials these are, and what the user may do."""

from __future__ import annotations

from datetime import timedelta

from athanore.errors import BoardAccessError, ConfigurationError
from athanore.http_client.cache import Cache
from athanore.queue_adapters.planka.board import Board
from athanore.queue_adapters.planka.client import MissingError, PlankaClient
from athanore.queue_adapters.tracker.answers import ForeignAnswerError, Json


class Account:
    """The user of a client; read once, when it is first needed."""

    def __init__(self, client: PlankaClient) -> None:
        self._client = client
        self._users = Cache(self._load, timedelta(days=365))

    @property
    def id(self) -> str:
        """The user's id."""
        return self._users.get("me")["id"]

    @property
    def name(self) -> str:
        """The display name, as cards show it."""
        me = self._users.get("me")
        return me.get("name") or me.get("username") or me["id"]

    def check_version(self) -> None:
        """Make sure that the server is a Planka 2.

        Raises:
            ConfigurationError: it is another version, or no Planka at all.
        """
        try:
            answer = self._client.get("bootstrap")
        except MissingError:  # an early 2.0; what it cannot do shows in use
            return
        except ForeignAnswerError as exc:
            raise ConfigurationError(str(exc)) from exc
        version = str(answer["item"].get("version") or "2")
        if version.split(".")[0] != "2":
            raise ConfigurationError(
                f"The server at {self._client.url} is Planka {version}; Athanore needs Planka 2."
            )

    def check_editor(self, board: Board, board_name: str) -> None:
        """Make sure that the user may change the cards of a board.

        Raises:
            BoardAccessError: the user is only a viewer of the board, or no member.
        """
        role = board.roles.get(self.id)
        if role != "editor":
            is_now = "only a viewer" if role else "not a member"
            raise BoardAccessError(
                f"The Planka user {self.name!r} is {is_now} of the board {board_name!r}. "
                "Make the user an editor of it; being an admin is not enough."
            )

    def _load(self, user_id: str) -> Json:
        return self._client.get(f"users/{user_id}")["item"]
