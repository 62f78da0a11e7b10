"""A double for each test, which executes what we send on Linear's schema, and an adapter on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from athanore.queue_adapters.linear import adapter as module
from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.queue_adapters.linear.client import LinearClient
from athanore.testing.doubles.linear import LinearDouble, linear_double
from athanore.testing.doubles.linear.server import TOKEN


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATHANORE_LINEAR_API_KEY", "LINEAR_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLAIM_SETTLES", 0.05)


@pytest.fixture(scope="package")
def server() -> Iterator[LinearDouble]:
    with linear_double() as linear:
        yield linear


@pytest.fixture
def linear(server: LinearDouble) -> Iterator[LinearDouble]:
    server.start_anew()
    yield server
    assert server.wire.violations == []


@pytest.fixture
def adapter(linear: LinearDouble) -> Iterator[LinearAdapter]:
    """The bot's adapter."""
    adapter = linear.board().create_adapter()
    yield adapter
    adapter.close()


class Clock:
    """A clock that stands still until a test sets it forward."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(linear: LinearDouble, clock: Clock) -> Iterator[LinearAdapter]:
    """The bot's adapter, by the test's clock."""
    client = LinearClient(
        f"{linear.url}/graphql", TOKEN, timeout=timedelta(seconds=20), retry_delays=()
    )
    adapter = LinearAdapter(client, "ENG", assigns=True, now=clock)
    yield adapter
    adapter.close()
