"""Runs the double as a real HTTP server in a thread, and lets a test look and interfere."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

from athanore.forges.github import GitHubForge
from athanore.queue_adapters.github.access.app import GitHubApp
from athanore.queue_adapters.github.backend import GitHubBoard
from athanore.queue_adapters.github.projects.backend import GitHubProjectBoard
from athanore.testing.doubles.github.app import (
    PREFIX,
    Check,
    Limit,
    Wire,
    make_app,
)
from athanore.testing.doubles.github.described import described
from athanore.testing.doubles.github.project import ProjectTables
from athanore.testing.doubles.github.pulls import Pulls
from athanore.testing.doubles.github.state import Account, Row, State
from athanore.testing.doubles.serving import served
from athanore.testing.doubles.signing import Delivery, encoded, hex_digest
from athanore.testing.doubles.wire import Fault, Kind

TOKEN: Final = "github_pat_of_the_double"
BOT: Final = "athanore-bot"
PERSON: Final = "octocat"


@dataclass
class GitHubDouble:
    """A running double of GitHub, with one repository."""

    url: str
    state: State
    wire: Wire

    @property
    def repository(self) -> str:
        """As `owner/name`."""
        return f"{self.state.owner}/{self.state.repo}"

    @property
    def log(self) -> list[str]:
        """The requests so far, as `METHOD /path`."""
        return self.wire.log

    def board(self, *others: str, **options: Any) -> GitHubBoard:
        """What a user would write for this repository, and others; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": self.url,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        repositories = [self.repository, *others] if others else self.repository
        return GitHubBoard(repositories, **(defaults | options))

    def app(self, **options: Any) -> GitHubApp:
        """What a user would write for the app that is installed on the repository."""
        app = self.wire.app
        defaults: dict[str, Any] = {"id": app.id, "key": app.key}
        return GitHubApp(**(defaults | options))

    @property
    def project(self) -> ProjectTables:
        """The project, of a double that has one."""
        if self.wire.project is None:
            raise LookupError("This double has no project; make it with project=(owner, number).")
        return self.wire.project

    def project_board(self, **options: Any) -> GitHubProjectBoard:
        """What a user would write for the project; quick to repeat a read."""
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": self.url,
            "repository": self.repository,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return GitHubProjectBoard(self.project.owner, self.project.number, **(defaults | options))

    def forge(
        self, folder: Path | None = None, repository: str = "", **options: Any
    ) -> GitHubForge:
        """What a user would write for this repository as a forge.

        Args:
            folder: the repository itself; branches are pushed there.
            repository: one of the others, instead of this one.
        """
        with self.wire.lock:
            self.pulls_in(repository).folder = folder
        defaults: dict[str, Any] = {
            "token": TOKEN,
            "url": self.url,
            "remote": folder,
            "retry_delays": (timedelta(seconds=0.01),),
        }
        return GitHubForge(repository or self.repository, **(defaults | options))

    @property
    def pulls(self) -> Pulls:
        """The pull requests and checks."""
        return self.wire.pulls

    def pulls_in(self, repository: str) -> Pulls:
        """The pull requests and checks of one of the other repositories; "" is the first one."""
        return self.wire.their_pulls[repository.lower()] if repository else self.wire.pulls

    def start_anew(self, *labels: str) -> None:
        """Empty the repository, give it labels, and forget requests, faults and limits."""
        with self.wire.lock:
            self.state.clear()
            for pulls in (self.wire.pulls, *self.wire.their_pulls.values()):
                pulls.clear()
            self.wire.app.clear()
            self.state.accounts[TOKEN] = Account(BOT)
            self.state.collaborators |= {BOT, PERSON}
            self.wire.clear()
            for label in labels:
                self.state.add_label(label)
            for other in self.wire.others.values():
                other.clear()
                other.collaborators |= {BOT, PERSON}
                for label in labels:
                    other.add_label(label)

    def issue(self, title: str, *labels: str, body: str | None = None) -> Row:
        """Have a person open an issue."""
        with self.wire.lock:
            return self.state.add_issue(PERSON, title, body, labels)

    def block(self, row: Row, by: Row) -> None:
        """Have a person say that an issue of the repository is blocked by another one."""
        with self.wire.lock:
            self.state.link(row, by)

    def add_part(self, row: Row, part: Row) -> None:
        """Have a person make an issue a sub-issue of one of the repository."""
        with self.wire.lock:
            self.state.link(row, part, as_part=True)

    def comment(self, number: int, text: str) -> None:
        """Have a person comment on an issue."""
        with self.wire.lock:
            self.state.add_comment(self.state.issue(number), PERSON, text)

    def pull_request(self, title: str, *labels: str) -> Row:
        """Have a person open a pull request, which GitHub's lists show among the issues."""
        with self.wire.lock:
            return self.state.add_issue(PERSON, title, None, labels, is_pull_request=True)

    def labels(self, number: int) -> list[str]:
        """The labels of an issue as it is now."""
        with self.wire.lock:
            return [label["name"] for label in self.state.issue(number)["labels"]]

    def comments(self, number: int) -> list[str]:
        """The comments of an issue as GitHub has them."""
        with self.wire.lock:
            return [comment["body"] for comment in self.state.comments[number]]

    def fail(self, method: str, path: str, kind: Kind, times: int = 1) -> None:
        """Have the next `times` requests fail whose path contains `path`; see `Fault`."""
        with self.wire.lock:
            self.wire.faults.append(Fault(method, path, kind, times))

    def refuse_for(self, seconds: float, kind: Limit = "primary") -> None:
        """Refuse everything for a time, as GitHub does for too many requests.

        Args:
            kind: the limit of an hour, which says when it ends; a secondary one, which says it
                otherwise; or one that does not say it.
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

    def delivery(
        self,
        number: int,
        secret: str,
        action: str = "labeled",
        *,
        event: str = "issues",
        label: str | None = None,
    ) -> Delivery:
        """A webhook's delivery about an issue as it is now, as GitHub sends it.

        Args:
            secret: of the webhook; it signs the body.
            action: what a person has done.
            event: `issues` or `issue_comment`.
            label: that was put on, or taken off.
        """
        with self.wire.lock:
            told: Row = {"action": action, "issue": self.state.issue(number)}
            if label is not None:
                told["label"] = self.state.label(label) or {"name": label}
            return self._signed(event, {**told, "repository": self._named()}, secret)

    def card_delivery(self, row: Row, secret: str, before: str | None = None) -> Delivery:
        """A delivery of the organization's webhook about a card of the project as it is now.

        Args:
            row: the card's issue.
            before: the column from which a person has moved it.
        """
        with self.wire.lock:
            columns = {column["name"]: column for column in self.project.columns}
            now = self.project.column(row)
            change = {
                "field_node_id": self.project.field_id,
                "field_type": "single_select",
                "field_name": "Status",
                "project_number": self.project.number,
                "from": None if before is None else columns[before],
                "to": None if now is None else columns[now],
            }
            item = {
                "project_node_id": self.project.id,
                "content_node_id": row["node_id"],
                "content_type": "Issue",
            }
            told: Row = {"projects_v2_item": item, "changes": {"field_value": change}}
            return self._signed("projects_v2_item", {"action": "edited", **told}, secret)

    def _named(self) -> Row:
        return {"name": self.state.repo, "full_name": self.repository}

    def _signed(self, event: str, payload: Row, secret: str) -> Delivery:
        body = encoded({**payload, "sender": {"login": PERSON, "type": "User"}})
        return {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": str(uuid4()),
            "x-hub-signature-256": f"sha256={hex_digest(secret, body)}",
        }, body


@contextmanager
def github_double(
    repository: str = "octo-org/website",
    labels: Iterable[str] = ("agent:Todo", "agent:In Progress", "agent:Done"),
    *,
    check: Check | Literal["described"] | None = "described",
    project: tuple[str, int] | None = None,
    others: Iterable[str] = (),
) -> Generator[GitHubDouble]:
    """Run a double on a free port of this machine.

    Its repository has a person `octocat` and a bot, whose token `board()` uses. Both may be
    assigned.

    Args:
        labels: of the repository.
        check: looks at each exchange; what it raises is kept in `wire.violations`. By default it
            is held to the tracker's own description of its API, if the packages of the extra
            `testing` are there.
        project: owner and number of a project over the issues, which has no columns yet; what is
            asked of it is executed on GitHub's published schema.
        others: further repositories, as `owner/name`: with the same labels, and their issues may
            be in the project.
    """
    owner, _, repo = repository.partition("/")
    state = State(owner, repo)
    wire = Wire(
        state=state, pulls=Pulls(state), check=described() if check == "described" else check
    )
    for name in others:
        own, _, called = name.partition("/")
        wire.others[name.lower()] = State(own, called)
        wire.their_pulls[name.lower()] = Pulls(wire.others[name.lower()])
    if project is not None:
        tables = {repository: state, **wire.others}
        wire.project = ProjectTables(*project, tables)
    with served(make_app(wire), "GitHub") as url:
        for one in (state, *wire.others.values()):
            one.site = url + PREFIX
        double = GitHubDouble(url, state, wire)
        double.start_anew(*labels)
        yield double
