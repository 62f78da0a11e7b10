"""Claims in which the board fails at any moment: nothing is said to be unchanged that is claimed.

A claim that is made and reported as none leaves a task in progress with nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from athanore.errors import AnswerLostError, BoardAccessError, BoardError, BoardUnavailableError
from athanore.http_client.cache import Cache
from athanore.http_client.client import HttpClient
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.gitlab import claims
from athanore.queue_adapters.jira import claims as jira_claims
from athanore.queue_adapters.jira import moves
from athanore.queue_adapters.linear import adapter as linear_adapter
from athanore.queue_adapters.planka import adapter as planka_adapter
from athanore.queue_adapters.tracker import looking
from tests.contract.sites import SITES, Site

_MOST_REQUESTS = 40


BOARDS = (
    "github",
    "github-project",
    "gitlab",
    "gitlab-links",
    "jira",
    "linear",
    "planka",
    "plain",
)


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Each board, with a task in progress; nothing waits, nothing is believed from before."""
    monkeypatch.setattr(looking, "LOOKS", (0.0,))
    monkeypatch.setattr(claims, "LOOKS", ())
    monkeypatch.setattr(moves, "LOOKS", ())
    monkeypatch.setattr(jira_claims, "SETTLES", 0.0)
    monkeypatch.setattr(linear_adapter, "CLAIM_SETTLES", 0.0)
    monkeypatch.setattr(planka_adapter, "_CLAIM_SETTLES", 0.0)
    load = Cache[Any, Any].get

    def get(cache: Cache[Any, Any], key: Any) -> Any:
        cache.forget(key)
        return load(cache, key)

    monkeypatch.setattr(Cache, "get", get)
    with SITES[request.param]() as site:
        site.new("In Progress")
        yield site


class _Fails:
    """Has requests fail from one on: all, after a lost answer perhaps, or reads only."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, how: str) -> None:
        self.reached = False
        self._left = at
        self._how = how
        self._send = HttpClient.send

        def send(client: HttpClient, method: str, path: str, **more: Any) -> httpx.Response:
            return self._next(client, method, path, **more)

        patch.setattr(HttpClient, "send", send)

    def _next(self, client: HttpClient, method: str, path: str, **more: Any) -> httpx.Response:
        reads = more.get("reads")
        reads = method == "GET" if reads is None else reads
        self._left -= 1
        if self._left > 0:
            return self._send(client, method, path, **more)
        if self._left == 0 and self._how == "lost" and not reads:
            self.reached = True
            self._send(client, method, path, **more)
            raise AnswerLostError("The answer was lost.")
        if reads or self._how != "refused":
            self.reached = True
            refused = BoardAccessError if self._how == "refused" else BoardUnavailableError
            raise refused("The board is away.")
        return self._send(client, method, path, **more)


@pytest.mark.parametrize("how", ["away", "refused", "lost"])
def test_a_claim_is_never_said_to_be_none_when_it_is_made(site: Site, how: str) -> None:
    source, target = f"{site.prefix}Todo", f"{site.prefix}In Progress"
    made = 0
    for at in count(1):
        assert at < _MOST_REQUESTS
        task = site.new("Todo")
        told: BoardError | None = None
        with pytest.MonkeyPatch.context() as patch:
            fails = _Fails(patch, at, how)
            try:
                now = claim_task(site.adapter, task, source_queue=source, target_queue=target)
            except BoardError as exc:
                told = exc
            else:
                assert now.queue_name == target
        if site.place(task) == target:
            made += 1
            assert told is None or isinstance(told, AnswerLostError), (at, repr(told))
        if not fails.reached:
            assert told is None
            break
    assert made
