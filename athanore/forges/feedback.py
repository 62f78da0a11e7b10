"""What comes back of a pull request: checks that failed, changes that people request, conflicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from athanore.forges.base import PullRequestState


class FeedbackKind(StrEnum):
    """What a route may react to."""

    CI_FAILED = "ci_failed"
    CHANGES_REQUESTED = "changes_requested"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Feedback:
    """Something that an agent has to see to.

    Attributes:
        signature: the same as long as it is the same thing, and another one for a new one.
        title: what it is, in a few words.
        text: what the forge, a program or a person says of it. It is anybody's text.
    """

    kind: FeedbackKind
    signature: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class PullRequestNews:
    """What has become of a pull request, and what is new about it.

    Attributes:
        unseen: what the credential may not look at, and what to do about it; "" for nothing.
    """

    state: PullRequestState
    feedback: tuple[Feedback, ...] = ()
    unseen: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """Which pull requests a delivery of a webhook is about: by their numbers, or commits."""

    numbers: frozenset[int] = frozenset()
    commits: frozenset[str] = frozenset()


@runtime_checkable
class HearsOfPulls(Protocol):
    """A forge whose webhook tells when something has come back of a pull request."""

    @property
    def webhook(self) -> str:
        """What comes behind `/webhooks/` in the address that it delivers to."""
        ...

    def heard(self, headers: Mapping[str, str], body: bytes, secret: str) -> Heard | None:
        """Read a delivery; None if it is about no pull request of the repository.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.

        Raises:
            WebhookRefusedError: it is not the forge's.
        """
        ...


@runtime_checkable
class TellsFeedback(Protocol):
    """A forge that says what comes back of pull requests."""

    def news(
        self, number: int, commit: str, kinds: Collection[FeedbackKind], seen: Collection[str]
    ) -> PullRequestNews:
        """Look at a pull request.

        Only checks of our own commit count, once all of them have ended, and only what is said by
        people who may write.

        Args:
            number: what the forge calls it by.
            commit: the commit that was published last.
            kinds: what is asked for.
            seen: the signatures of what is known, which is not told again.

        Raises:
            PublishError: the forge does not answer.
        """
        ...
