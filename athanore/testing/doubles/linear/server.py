"""Runs the double as a real HTTP server in a thread, and lets a test look and interfere."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from athanore.queue_adapters.linear.backend import LinearBoard
from athanore.testing.doubles.linear.app import Limit, Wire, make_app
from athanore.testing.doubles.linear.state import Account, Row, State
from athanore.testing.doubles.serving import served
from athanore.testing.doubles.signing import Delivery, encoded, hex_digest
from athanore.testing.doubles.wire import Fault, Kind

TOKEN: Final = "lin_api_of_the_double"
BOT: Final = "athanore"
PERSON: Final = "ada"

STATES: Final[Mapping[str, str]] = {
    "Backlog": "backlog",
    "Todo": "unstarted",
    "In Progress": "started",
    "In Review": "started",
    "Done": "completed",
    "Canceled": "canceled",
    "Duplicate": "duplicate",
}
"""The states of a team, with their types: those that Linear gives a new one, and a review."""


@dataclass
class LinearDouble:
    """A running double of Linear, with one team."""

    url: str
    state: State
    wire: Wire

    @property
    def log(self) -> list[str]:
        """The requests so far: the names of their operations."""
        return self.wire.log

    def board(self, **options: Any) -> LinearBoard:
        """What a user would write for this team; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": f"{self.url}/graphql",
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return LinearBoard(self.state.key, **(defaults | options))

    def start_anew(self, states: Mapping[str, str] = STATES) -> None:
        """Empty the team, give it states, and forget requests, faults and limits."""
        with self.wire.lock:
            self.state.clear()
            self.state.accounts[TOKEN] = Account(BOT)
            self.state.add_user(BOT)
            self.state.add_user(PERSON)
            self.wire.clear()
            for name, type_ in states.items():
                self.state.add_state(name, type_)

    def issue(self, title: str, queue: str = "Todo", description: str = "") -> Row:
        """Have a person make an issue."""
        with self.wire.lock:
            values = {"title": title, "stateId": self.state.state(queue)["id"]}
            return self.state.add_issue({**values, "description": description}, PERSON)

    def move(self, issue: str, queue: str) -> None:
        """Have a person move an issue."""
        with self.wire.lock:
            values = {"stateId": self.state.state(queue)["id"]}
            self.state.change_issue(self.state.issue(issue), values)

    def queue(self, issue: str) -> str:
        """The state of an issue as it is now."""
        with self.wire.lock:
            return self.state.issue(issue)["state"]["name"]

    def comments(self, issue: str) -> list[str]:
        """The comments of an issue as Linear has them, oldest first."""
        with self.wire.lock:
            row = self.state.issue(issue)
            all_ = self.state.comments.values()
            return [comment["body"] for comment in all_ if comment["issueId"] == row["id"]]

    def fail(self, operation: str, kind: Kind, times: int = 1) -> None:
        """Have the next `times` requests of an operation fail; see `Fault`."""
        with self.wire.lock:
            self.wire.faults.append(Fault("POST", operation, kind, times))

    def refuse_for(self, seconds: float, kind: Limit = "requests") -> None:
        """Refuse everything for a time, as Linear does for too many, or too complex, requests."""
        with self.wire.lock:
            self.wire.refuse_for(kind, seconds)

    def revoke(self, token: str = TOKEN) -> Account:
        """Take a key away."""
        with self.wire.lock:
            return self.state.accounts.pop(token)

    def grant(self, account: Account, token: str = TOKEN) -> None:
        """Give a key to an account."""
        with self.wire.lock:
            self.state.accounts[token] = account

    def delivery(
        self, kind: str, data: Row, secret: str, before: Row | None = None, *, age: float = 0.0
    ) -> Delivery:
        """A webhook's delivery as Linear sends it: headers and body.

        Args:
            before: what members of `data` were before.
            age: how many seconds ago it was sent.
        """
        sent = int((time.time() - age) * 1000)
        told = {
            "action": "update",
            "type": kind,
            "data": data,
            "updatedFrom": before or {},
            "webhookTimestamp": sent,
        }
        body = encoded(told)
        return {
            "content-type": "application/json",
            "linear-signature": hex_digest(secret, body),
            "linear-event": kind,
            "linear-delivery": str(uuid4()),
            "linear-timestamp": str(sent),
        }, body

    def issue_delivery(self, issue: str, secret: str, before: str | None = None) -> Delivery:
        """A webhook's delivery about an issue as it is now.

        Args:
            before: the state from which a person has moved it.
        """
        with self.wire.lock:
            row = self.state.issue(issue)
            states = {"id": row["id"], "teamId": row["team"]["id"], "stateId": row["state"]["id"]}
            data = {**states, "updatedAt": row["updatedAt"]}
            was = {} if before is None else {"stateId": self.state.state(before)["id"]}
        return self.delivery("Issue", data, secret, was)


@contextmanager
def linear_double(team: str = "ENG", states: Mapping[str, str] = STATES) -> Generator[LinearDouble]:
    """Run a double on a free port of this machine.

    Its team has a person `ada` and a bot, whose key `board()` uses. What adapters ask is executed
    on Linear's published schema; what does not fit it is kept in `wire.violations`.

    Args:
        team: the key of the team.
        states: of the team, with their types.
    """
    state = State(team)
    wire = Wire(state=state)
    with served(make_app(wire), "Linear") as url:
        double = LinearDouble(url, state, wire)
        double.start_anew(states)
        yield double
