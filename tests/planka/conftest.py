"""A running double for each test, and the bot's adapter on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.planka.server import PlankaDouble, planka_double


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLANKA_TOKEN", "PLANKA_USER", "PLANKA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written without an answer is looked for twice; a double shows it at once."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))


@pytest.fixture
def planka() -> Iterator[PlankaDouble]:
    """A server with one board `P.B`: Todo, In Progress and Done; the bot is its editor."""
    with planka_double(lists=()) as server:
        server.add_board("P", "B", lists=("Todo", "In Progress", "Done"))
        yield server


@pytest.fixture
def adapter(planka: PlankaDouble) -> Iterator[PlankaAdapter]:
    """The bot's adapter."""
    adapter = planka.board().create_adapter()
    yield adapter
    adapter.close()
