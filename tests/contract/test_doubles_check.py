"""The doubles hold what they are asked to the descriptions of the trackers, for users as well."""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest

from athanore.testing.doubles import schemas
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN as GITHUB
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.gitlab.server import TOKEN as GITLAB
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.jira.server import EMAIL
from athanore.testing.doubles.jira.server import TOKEN as JIRA

type Ask = Callable[[], list[str]]
"""Asks for something that the description has not, and returns what was wrong."""


def _send(token: str, method: str, url: str, **more: Any) -> None:
    headers = {"Authorization": token, "User-Agent": "a user's program"}
    httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **more)


@contextmanager
def on_github(**options: Any) -> Generator[Ask]:
    with github_double(**options) as double:

        def ask() -> list[str]:
            number = double.issue("a")["number"]
            url = f"{double.url}/api/v3/repos/{double.repository}/issues/{number}/comments"
            _send(f"Bearer {GITHUB}", "POST", url, json={"body": "x", "text": 1})
            _send(f"Bearer {GITHUB}", "POST", url, json={"text": "x"})
            return double.wire.violations

        yield ask


@contextmanager
def on_gitlab(**options: Any) -> Generator[Ask]:
    with gitlab_double(**options) as double:

        def ask() -> list[str]:
            url = f"{double.url}/api/v4/projects/{double.state.number}/issues"
            _send(f"Bearer {GITLAB}", "GET", url, params={"colour": "red"})
            return double.wire.violations

        yield ask


@contextmanager
def on_jira(**options: Any) -> Generator[Ask]:
    with jira_double(**options) as double:

        def ask() -> list[str]:
            key = double.issue("a", "Todo")["key"]
            token = base64.b64encode(f"{EMAIL}:{JIRA}".encode()).decode()
            url = f"{double.url}/rest/api/2/issue/{key}"
            _send(f"Basic {token}", "GET", url, params={"colour": "red"})
            return double.wire.violations

        yield ask


DOUBLES: dict[str, Callable[..., AbstractContextManager[Ask]]] = {
    "github": on_github,
    "gitlab": on_gitlab,
    "jira": on_jira,
}


def _nothing(_: str) -> None: ...


@pytest.mark.parametrize("double", DOUBLES)
def test_what_the_description_has_not_is_told_unless_that_is_not_wanted(
    double: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DOUBLES[double]() as ask:
        assert ask()
    with DOUBLES[double](check=None) as ask:
        assert ask() == []
    monkeypatch.setattr(schemas, "find_spec", _nothing)
    with DOUBLES[double]() as ask:
        assert ask() == [], "the packages are not there"
