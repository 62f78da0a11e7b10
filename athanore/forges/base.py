"""The port to a forge: where a branch is pushed to, and the pull request for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from athanore.forges.texts import PullRequestTask


class PullRequestState(StrEnum):
    """What has become of a pull request."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge has it.

    Attributes:
        number: what the forge calls it by.
        url: its page, for people.
        head: the commit that its branch is at.
        body: its text, as it is there.
    """

    number: int
    url: str
    state: PullRequestState
    head: str
    body: str = ""


@runtime_checkable
class Forge(Protocol):
    """One repository of a forge, with a credential that only the worker has.

    Its methods may block, and are called in threads, from several processes at once. Each raises
    `PublishError` where the forge does not answer or refuses the credential, which is tried again,
    and `PublishRefusedError` for what a person has to decide.
    """

    @property
    def remote(self) -> str:
        """Where branches are pushed to: a URL without a login, or a path."""
        ...

    @property
    def login(self) -> str:
        """`user:password` for a push to `remote`; "" where it needs none, or has one of its own.

        It may ask for one that is valid now, and is called in a thread.
        """
        ...

    @property
    def secret_env(self) -> frozenset[str]:
        """The names of the variables with the credential, which no agent inherits."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """What must show up nowhere; `[redacted]` stands in its place."""
        ...

    def check(self) -> str | None:
        """Say what is missing, in a few words, without a request; None if nothing is."""
        ...

    def find(self, branch: str) -> PullRequest | None:
        """The newest pull request of a branch of the repository, whatever has become of it."""
        ...

    def open(self, branch: str, base: str, task: PullRequestTask) -> PullRequest:
        """Open a pull request for a branch that was pushed; the one that is open, if there is one.

        Args:
            base: the branch that it is to be merged into.
        """
        ...

    def update(self, found: PullRequest, task: PullRequestTask) -> None:
        """Bring what we wrote in the text of a pull request up to date; not what people wrote."""
        ...
