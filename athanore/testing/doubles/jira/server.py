"""Runs the double as a real HTTP server in a thread, and lets a test look and interfere."""

from __future__ import annotations

import base64
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from time import monotonic, time
from typing import Any, Final, Literal
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response

from athanore.queue_adapters.jira.backend import JiraBoard
from athanore.testing.doubles.jira.described import described
from athanore.testing.doubles.jira.endpoints import ENDPOINTS
from athanore.testing.doubles.jira.state import Account, State
from athanore.testing.doubles.rest import Check, RefusalError, Rest, Row
from athanore.testing.doubles.serving import served
from athanore.testing.doubles.signing import Delivery, encoded, hex_digest
from athanore.testing.doubles.wire import Fault, Kind, Wire

TOKEN: Final = "token-of-the-double"
EMAIL: Final = "bot@example.com"
BOT: Final = "Athanore Bot"
PERSON: Final = "Ada Example"
PREFIX: Final = "/rest/api/2"

type Limit = Literal["burst", "silent"]


@dataclass
class JiraDouble:
    """A running double of Jira Cloud, or of Data Center, with one project."""

    url: str
    state: State
    wire: Wire[Limit]

    @property
    def log(self) -> list[str]:
        """The requests so far, as `METHOD /path`."""
        return self.wire.log

    def board(self, **options: Any) -> JiraBoard:
        """What a user would write for this project; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "email": EMAIL if self.state.deployment == "Cloud" else None,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return JiraBoard(self.url, self.state.key, **(defaults | options))

    def start_anew(self, *statuses: str, deployment: Literal["Cloud", "Server"] = "Cloud") -> None:
        """Empty the project, give it statuses, and forget requests, faults and limits.

        Each status can be reached from each other by a global transition, as in a project that
        nobody has changed. The last one is in the category Done.
        """
        with self.wire.lock:
            state = self.state
            state.clear()
            state.deployment = deployment
            state.accounts[TOKEN] = Account(BOT)
            for name in (BOT, PERSON):
                state.add_user(name)
            self.wire.clear()
            for number, status in enumerate(statuses):
                last = number == len(statuses) - 1
                state.add_status(status, "done" if last else "indeterminate" if number else "new")
                state.allow(status)

    def issue(self, summary: str, status: str, *labels: str) -> Row:
        """Have a person make an issue."""
        with self.wire.lock:
            return self.state.add_issue(PERSON, summary, status, labels)

    def status(self, key: str) -> str:
        """The status of an issue as it is now."""
        with self.wire.lock:
            return str(self.state.issue(key)["fields"]["status"]["name"])

    def fail(self, method: str, path: str, kind: Kind, times: int = 1) -> None:
        """Have the next `times` requests fail whose path contains `path`; see `Fault`."""
        with self.wire.lock:
            self.wire.faults.append(Fault(method, path, kind, times))

    def refuse_for(self, seconds: float, kind: Limit = "burst") -> None:
        """Refuse everything for a time, as Jira does for too many requests.

        Args:
            kind: a limit that says when it ends, or one that does not say it.
        """
        with self.wire.lock:
            self.wire.refuse_for(kind, seconds)

    def revoke(self, token: str = TOKEN) -> Account:
        """Take a token away."""
        with self.wire.lock:
            return self.state.accounts.pop(token)

    def grant(self, account: Account, token: str = TOKEN) -> None:
        """Give a token to an account."""
        with self.wire.lock:
            self.state.accounts[token] = account

    def delivery(self, key: str, secret: str, before: str | None = None) -> Delivery:
        """A webhook's delivery about an issue as it is now, as Jira sends it.

        Args:
            secret: of the webhook; it signs the body.
            before: the status from which a person has moved it; None if it is new.
        """
        with self.wire.lock:
            row = self.state.issue(key)
            now = row["fields"]["status"]
            old = None if before is None else self.state.statuses[before]
            moved = {
                "field": "status",
                "fieldtype": "jira",
                "fieldId": "status",
                "from": old and old["id"],
                "fromString": old and old["name"],
                "to": now["id"],
                "toString": now["name"],
            }
            told: Row = {
                "timestamp": int(time() * 1000),
                "webhookEvent": "jira:issue_created" if old is None else "jira:issue_updated",
                "issue": row,
                "changelog": {"id": self.state.new_id(), "items": [moved]},
            }
            body = encoded(told)
        return {
            "content-type": "application/json; charset=UTF-8",
            "x-atlassian-webhook-identifier": str(uuid4()),
            "x-hub-signature": f"sha256={hex_digest(secret, body)}",
        }, body


@contextmanager
def jira_double(
    project: str = "ENG",
    statuses: Iterable[str] = ("Todo", "In Progress", "Done"),
    *,
    check: Check | Literal["described"] | None = "described",
) -> Generator[JiraDouble]:
    """Run a double on a free port of this machine: Jira Cloud, until `start_anew` says else.

    Args:
        statuses: of the project; new issues begin in the first one.
        check: looks at each exchange; what it raises is kept in `wire.violations`. By default it
            is held to the tracker's own description of its API, if the packages of the extra
            `testing` are there.
    """
    state = State(project)
    wire = Wire[Limit]()

    def admit(request: Request) -> Account:
        _check_limit(wire)
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        cloud = state.deployment == "Cloud"
        token = said if scheme == "Bearer" and not cloud else ""
        if scheme == "Basic" and cloud:
            email, _, token = base64.b64decode(said).decode().partition(":")
            token = token if email == EMAIL else ""
        account = state.accounts.get(token)
        if account is None:
            headers = {"x-seraph-loginreason": "AUTHENTICATED_FAILED"}
            raise RefusalError(
                401, "Client must be authenticated to access this resource.", headers
            )
        return account

    def finish(response: Response) -> Response:
        response.headers["date"] = format_datetime(state.now(), usegmt=True)
        if state.deployment == "Server" and state.bucket is not None:
            limit, left = state.bucket
            state.bucket = limit, max(left - 1, 0)
            told = {"limit": limit, "remaining": left, "fillrate": 10, "interval-seconds": 60}
            for name, value in told.items():
                response.headers[f"x-ratelimit-{name}"] = str(value)
        return response

    checked = described() if check == "described" else check
    api = Rest(state, PREFIX, ENDPOINTS, admit, finish, checked)
    with served(api.app(wire), "Jira") as url:
        state.site = url
        double = JiraDouble(url, state, wire)
        double.start_anew(*statuses)
        yield double


def _check_limit(wire: Wire[Limit]) -> None:
    left = wire.limited_until - monotonic()
    if wire.limit is None or left <= 0:
        return
    body: Row = {"errorMessages": ["Rate limit exceeded."], "errors": {}}
    headers = {"retry-after": str(math.ceil(left)), "ratelimit-reason": "jira-burst-based"}
    raise RefusalError(429, body, headers if wire.limit == "burst" else {})
