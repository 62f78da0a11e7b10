"""Runs the double as a real HTTP server in a thread, and lets a test look and interfere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic, time
from typing import Any, Final, Literal
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response

from athanore.forges.gitlab import GitLabForge
from athanore.queue_adapters.gitlab.backend import GitLabBoard
from athanore.queue_adapters.gitlab.webhook import SIGNING
from athanore.testing.doubles.gitlab import merge_endpoints
from athanore.testing.doubles.gitlab.described import described
from athanore.testing.doubles.gitlab.endpoints import ENDPOINTS
from athanore.testing.doubles.gitlab.merges import Merges
from athanore.testing.doubles.gitlab.state import Account, State
from athanore.testing.doubles.rest import Check, RefusalError, Rest, Row
from athanore.testing.doubles.serving import served
from athanore.testing.doubles.signing import Delivery, encoded
from athanore.testing.doubles.wire import Fault, Kind, Wire

TOKEN: Final = "glpat-of-the-double"
BOT: Final = "project_4_bot_1a2b3c"
PERSON: Final = "ada"
PREFIX: Final = "/api/v4"
QUOTA: Final = 2000

type Limit = Literal["requests", "silent"]


@dataclass
class GitLabDouble:
    """A running double of GitLab, with one project."""

    url: str
    state: State
    wire: Wire[Limit]
    merges: Merges

    def forge(self, folder: Path | None = None, **options: Any) -> GitLabForge:
        """What a user would write for this project as a forge; the bot becomes a developer.

        Args:
            folder: the repository itself; branches are pushed there.
        """
        with self.wire.lock:
            self.merges.folder = folder
            self.state.accounts[TOKEN].role = 30
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": self.url,
            "remote": folder,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return GitLabForge(self.state.path, **(defaults | options))

    @property
    def log(self) -> list[str]:
        """The requests so far, as `METHOD /path`."""
        return self.wire.log

    def board(self, **options: Any) -> GitLabBoard:
        """What a user would write for this project; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": self.url,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return GitLabBoard(self.state.path, **(defaults | options))

    def start_anew(self, *labels: str) -> None:
        """Empty the project, give it labels, and forget requests, faults and limits."""
        with self.wire.lock:
            self.state.clear()
            self.merges.clear()
            self.state.accounts[TOKEN] = Account(BOT)
            for name in (BOT, PERSON):
                self.state.add_user(name)
            self.merges.roles = {BOT: 30, PERSON: 40}
            self.wire.clear()
            for label in labels:
                self.state.add_label(label)

    def issue(self, title: str, *labels: str, text: str | None = None) -> Row:
        """Have a person open an issue."""
        with self.wire.lock:
            return self.state.add_issue(PERSON, title, text, labels)

    def labels(self, iid: int) -> list[str]:
        """The labels of an issue as it is now."""
        with self.wire.lock:
            return list(self.state.issue(iid)["labels"])

    def notes(self, iid: int) -> list[str]:
        """The notes of an issue as GitLab has them."""
        with self.wire.lock:
            return [note["body"] for note in self.state.notes[iid]]

    def fail(self, method: str, path: str, kind: Kind, times: int = 1) -> None:
        """Have the next `times` requests fail whose path contains `path`; see `Fault`."""
        with self.wire.lock:
            self.wire.faults.append(Fault(method, path, kind, times))

    def refuse_for(self, seconds: float, kind: Limit = "requests") -> None:
        """Refuse everything for a time, as GitLab does for too many requests.

        Args:
            kind: the limit of requests, which says when it ends, or one that does not say it.
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

    def delivery(self, iid: int, secret: str, before: Iterable[str] | None = None) -> Delivery:
        """A webhook's delivery about an issue as it is now, as GitLab sends it.

        Args:
            secret: of the webhook; a signing token (`whsec_...`) signs it, another is sent along.
            before: the labels that it had before a person changed them.
        """
        with self.wire.lock:
            row = self.state.issue(iid)
            labels, now = [{"title": name} for name in row["labels"]], self.state.now()
            told: Row = {
                "object_kind": "issue",
                "event_type": "issue",
                "project": {"id": self.state.number, "path_with_namespace": self.state.path},
                "object_attributes": {
                    **row,
                    "labels": labels,
                    "action": "open" if before is None else "update",
                    "updated_at": f"{now:%Y-%m-%d %H:%M:%S} UTC",
                },
                "labels": labels,
            }
        if before is not None:
            previous = [{"title": name} for name in before]
            told["changes"] = {"labels": {"previous": previous, "current": labels}}
        body, delivery_id = encoded(told), str(uuid4())
        headers = {
            "content-type": "application/json",
            "x-gitlab-event": "Issue Hook",
            "idempotency-key": delivery_id,
            "webhook-id": delivery_id,
        }
        if not secret.startswith(SIGNING):
            return {**headers, "x-gitlab-token": secret}, body
        sent = str(int(time()))
        key = base64.b64decode(secret.removeprefix(SIGNING))
        digest = hmac.new(key, f"{delivery_id}.{sent}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return {**headers, "webhook-timestamp": sent, "webhook-signature": signature}, body


@contextmanager
def gitlab_double(
    project: str = "octo-group/website",
    labels: Iterable[str] = ("agent::Todo", "agent::In Progress", "agent::Done"),
    *,
    check: Check | Literal["described"] | None = "described",
) -> Generator[GitLabDouble]:
    """Run a double on a free port of this machine: GitLab Free, unless `state.tier` says else.

    Its project has a person `ada` and a bot, whose token `board()` uses.

    Args:
        labels: of the project.
        check: looks at each exchange; what it raises is kept in `wire.violations`. By default it
            is held to the tracker's own description of its API, if the packages of the extra
            `testing` are there.
    """
    state = State(project)
    wire = Wire[Limit]()

    def admit(request: Request) -> Account:
        _check_limit(wire)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = request.headers.get("private-token") or (token if scheme == "Bearer" else "")
        account = state.accounts.get(token)
        if account is None:
            said = "Token was revoked. You have to re-authorize from the user."
            raise RefusalError(401, {"error": "invalid_token", "error_description": said})
        return account

    def finish(response: Response) -> Response:
        response.headers["date"] = format_datetime(state.now(), usegmt=True)
        if response.status_code != 429:
            response.headers["ratelimit-limit"] = str(QUOTA)
            response.headers["ratelimit-remaining"] = str(max(QUOTA - wire.counted, 0))
            response.headers["ratelimit-reset"] = str(math.ceil(state.now().timestamp() + 60))
        return response

    merges = Merges(state)
    handlers = {**merge_endpoints.endpoints(merges), **ENDPOINTS}
    checked = described() if check == "described" else check
    api = Rest(state, PREFIX, handlers, admit, finish, checked)
    with served(api.app(wire), "GitLab") as url:
        state.site = url
        double = GitLabDouble(url, state, wire, merges)
        double.start_anew(*labels)
        yield double


def _check_limit(wire: Wire[Limit]) -> None:
    left = wire.limited_until - monotonic()
    if wire.limit is None or left <= 0:
        return
    if wire.limit == "requests":
        raise RefusalError(429, "Retry later\n", {"retry-after": str(math.ceil(left))})
    said = "This endpoint has been requested too many times. Try again later."
    raise RefusalError(429, {"message": {"error": said}})
