"""Forges that tests of publishing are run on, each with what happens there in the same words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override

from athanore.forges.base import Forge
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.pulls import Pulls
from athanore.testing.doubles.gitlab import GitLabDouble, gitlab_double
from athanore.testing.doubles.gitlab.merges import Merges
from athanore.testing.doubles.wire import Wire

LOG = "collected 3 items\nE assert 1 == 2\n"


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request as it is there."""

    url: str
    title: str
    text: str
    is_draft: bool


class Hosting(ABC):
    """A double of a forge; at the end nothing in its requests and answers may be wrong.

    Attributes:
        forge: the adapter of its repository.
    """

    def __init__(self, wire: Wire[Any], requests: Pulls | Merges, forge: Forge) -> None:
        self._wire = wire
        self._requests = requests
        self.forge = forge

    @classmethod
    @contextmanager
    @abstractmethod
    def served(cls, repository: Path) -> Generator[Hosting]:
        """Serve it, with the branches of a repository."""
        yield NotImplemented

    @abstractmethod
    def pulls(self) -> Sequence[Pull]:
        """All pull requests."""

    @abstractmethod
    def fails(self, number: int, commit: str) -> None:
        """The CI of a pull request fails with `LOG`."""

    def conflicts(self, number: int) -> None:
        """It conflicts with what it is to be merged into."""
        with self._wire.lock:
            self._requests.conflict(number)

    def merge(self, number: int) -> None:
        """A person merges it."""
        with self._wire.lock:
            self._requests.merge(number)


class OnGitHub(Hosting):
    """GitHub, with pull requests."""

    def __init__(self, double: GitHubDouble, repository: Path) -> None:
        super().__init__(double.wire, double.pulls, double.forge(repository))
        self._double = double

    @override
    @classmethod
    @contextmanager
    def served(cls, repository: Path) -> Generator[Hosting]:
        with github_double() as double:
            yield cls(double, repository)
            assert double.wire.violations == []

    @override
    def pulls(self) -> Sequence[Pull]:
        rows: list[dict[str, Any]] = self._double.pulls.listed("all", "")
        return [Pull(r["html_url"], r["title"], r["body"], r["draft"]) for r in rows]

    @override
    def fails(self, number: int, commit: str) -> None:
        with self._double.wire.lock:
            self._double.pulls.check(commit, "tests", "failure", LOG)


class OnGitLab(Hosting):
    """GitLab, with merge requests."""

    def __init__(self, double: GitLabDouble, repository: Path) -> None:
        super().__init__(double.wire, double.merges, double.forge(repository))
        self._double = double

    @override
    @classmethod
    @contextmanager
    def served(cls, repository: Path) -> Generator[Hosting]:
        with gitlab_double() as double:
            yield cls(double, repository)
            assert double.wire.violations == []

    @override
    def pulls(self) -> Sequence[Pull]:
        rows: list[dict[str, Any]] = self._double.merges.listed()
        titles = [str(r["title"]) for r in rows]
        return [
            Pull(r["web_url"], t.removeprefix("Draft: "), r["description"], r["draft"])
            for r, t in zip(rows, titles, strict=True)
        ]

    @override
    def fails(self, number: int, commit: str) -> None:
        with self._double.wire.lock:
            assert self._double.merges.told(number)["sha"] == commit
            self._double.merges.pipeline(number, "failed", tests=LOG)
