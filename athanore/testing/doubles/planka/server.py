"""Runs the double as a real HTTP server in a thread, and lets a test look and interfere."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore.queue_adapters.planka.backend import PlankaBackend
from athanore.testing.doubles.planka.app import make_app
from athanore.testing.doubles.planka.state import Row, State
from athanore.testing.doubles.serving import served
from athanore.testing.doubles.signing import Delivery, encoded

ADMIN_KEY: Final = "admin-key-1234567890"
BOT_KEY: Final = "bot-key-1234567890"
STRANGER_KEY: Final = "stranger-key-1234567890"
PASSWORD: Final = "correct horse"
LISTS: Final = ("Todo", "In Progress", "Done")

type Kind = Literal["lost", "cut", "page", "slow"] | int

SLOW: Final = 4.0
"""Seconds that a slow answer takes; what is asked for is done at once."""


_STATUS: Final = {"page": 200, "lost": 500}


@dataclass
class Fault:
    """What to do to the next requests.

    A status: a gateway's error page, and nothing is done. `page`: it is not done either, and a
    proxy's page comes, with status 200. `lost`: it is done, and something after that is not, so
    that the answer is an error (500). `cut`: it is done, and the answer breaks off. `slow`: it is
    done, and the answer comes late.
    """

    method: str
    path: str
    kind: Kind
    times: int


@dataclass
class Wire:
    """An ASGI layer that notes every request, and carries out faults."""

    app: ASGIApp
    log: list[str] = field(default_factory=list[str])
    faults: list[Fault] = field(default_factory=list[Fault])
    limited_until: float = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        self.log.append(f"{method} {path}")
        if (left := self.limited_until - time.monotonic()) > 0:
            wait = (b"retry-after", str(math.ceil(left)).encode())
            await _start(send, 429, 0, wait)
            await send({"type": "http.response.body", "body": b""})
            return
        fault = next((f for f in self.faults if f.method == method and f.path in path), None)
        if fault is None:
            await self.app(scope, receive, send)
            return
        fault.times -= 1
        if fault.times == 0:
            self.faults.remove(fault)
        if fault.kind == "slow":

            async def late(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await asyncio.sleep(SLOW)
                await send(message)

            await self.app(scope, receive, late)
            return
        if fault.kind == "cut":
            await self.app(scope, receive, _nowhere)
            await _start(send, 200, length=1000)
            return  # with less than was announced: the server then cuts the connection
        if fault.kind == "lost":
            await self.app(scope, receive, _nowhere)
        page = b"<html>a proxy's page</html>"
        status = fault.kind if isinstance(fault.kind, int) else _STATUS[fault.kind]
        await _start(send, status, length=len(page))
        await send({"type": "http.response.body", "body": page})


async def _nowhere(message: Message) -> None:
    del message


async def _start(send: Send, status: int, length: int, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/html"), (b"content-length", str(length).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})


@dataclass
class PlankaDouble:
    """A running double of Planka."""

    url: str
    state: State
    wire: Wire
    admin: Row
    bot: Row

    @property
    def log(self) -> list[str]:
        """The requests so far, as `METHOD path`."""
        return self.wire.log

    def fail(self, method: str, path: str, kind: Kind, times: int = 1) -> None:
        """Have the next `times` requests fail whose path contains `path`."""
        self.wire.faults.append(Fault(method, path, kind, times))

    def refuse_for(self, seconds: float) -> None:
        """Refuse everything for a time: Planka has no rate limit, but a proxy may have one."""
        self.wire.limited_until = time.monotonic() + seconds

    def revoke(self, key: str = BOT_KEY) -> str:
        """Take an API key away; returns whose it was."""
        return self.state.keys.pop(key)

    def grant(self, account: str, key: str = BOT_KEY) -> None:
        """Give an API key to a user."""
        self.state.keys[key] = account

    def mended(self) -> None:
        """Let requests pass again."""
        self.wire.faults.clear()

    def board(self, **options: Any) -> PlankaBackend:
        """What a user would write for this server; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": BOT_KEY,
            "retry_delays": (timedelta(seconds=0.01),) * 2,
        }
        return PlankaBackend(self.url, **(defaults | options))

    def add_board(
        self, project: str, name: str, lists: Sequence[str] = (), role: str = "editor"
    ) -> Row:
        """Add a board of the admin's, with active lists, and the bot as a member."""
        projects = self.state.rows("projects", name=project)
        row = projects[0] if projects else self.state.add_project(self.admin, project, "private")[0]
        count = len(self.state.rows("boards", projectId=row["id"]))
        board, _ = self.state.add_board(self.admin, row["id"], name, 65536 * (count + 1))
        if role:
            self.state.add_board_membership(board, self.bot["id"], role)
        for n, title in enumerate(lists):
            self.state.add_list(board["id"], "active", title, 65536 * (n + 1))
        return board

    def role_on(self, board: Row, role: str) -> None:
        """Change the bot's role on a board; an empty one takes it off the board."""
        self.state.remove(
            "boardMemberships",
            lambda row: (row["boardId"], row["userId"]) != (board["id"], self.bot["id"]),
        )
        if role:
            self.state.add_board_membership(board, self.bot["id"], role)

    def list(self, name: str | None) -> Row:
        """The list of this name."""
        (row,) = self.state.rows("lists", name=name)
        return row

    def card(self, in_list: str, name: str, position: float = 65536) -> Row:
        """Add a card of the admin's."""
        values = {"name": name, "position": position}
        return self.state.add_card(self.admin, self.list(in_list), values)

    def delivery(self, event: str, item: Row, secret: str, before: Row | None = None) -> Delivery:
        """A webhook's delivery as Planka sends it for a change of the admin's: headers and body.

        Args:
            event: such as `cardUpdate`.
            item: the row as it is now.
            secret: the access token of the webhook, which Planka sends along.
            before: the row before the change.
        """
        told: Row = {"event": event, "data": {"item": item, "included": {}}, "user": self.admin}
        if before is not None:
            told["prevData"] = {"item": before, "included": {}}
        headers = {"content-type": "application/json", "authorization": f"Bearer {secret}"}
        return headers, encoded(told)


@contextmanager
def planka_double(
    version: str = "2.1.1", *, lists: Sequence[str] = LISTS
) -> Generator[PlankaDouble]:
    """Run a double on a free port of this machine.

    It has an admin, a stranger, and a bot whose key `board()` uses.

    Args:
        version: of Planka.
        lists: of the board `Website.Work`, of which the bot is an editor; without any there is no
            board.
    """
    state = State()
    admin = state.add_user(
        "labadmin", "Lab Admin", "admin", key=ADMIN_KEY, password=PASSWORD, email="admin@lab.test"
    )
    bot = state.add_user("bot", "Robot", "boardUser", key=BOT_KEY, password=PASSWORD)
    state.add_user("out", "Stranger", "boardUser", key=STRANGER_KEY, password=PASSWORD)
    wire = Wire(make_app(state, version))
    # Its adapter goes by the server's clock.
    with served(wire, "Planka", dates=True) as url:
        double = PlankaDouble(url, state, wire, admin, bot)
        if lists:
            double.add_board("Website", "Work", lists)
        yield double
