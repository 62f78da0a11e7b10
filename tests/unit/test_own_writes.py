"""What this process has just written counts for some seconds, and is kept no longer."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from weakref import WeakSet

from athanore.queue_adapters.tracker.picture import OWN_COUNTS, OwnWrites


@dataclass(eq=False)
class Written:
    """A card."""

    id: str
    is_open: bool = True
    updated_at: str = ""

    def looks_like(self, other: object) -> bool:
        return self is other


def test_what_was_written_is_kept_no_longer_than_it_counts() -> None:
    time = 0.0
    own = OwnWrites[Written](lambda: time)
    alive: WeakSet[Written] = WeakSet()

    def write(task_id: str) -> None:
        card = Written(task_id)
        alive.add(card)
        own.wrote(card)
        assert own.is_own(card)

    for number in range(100):
        write(str(number))
        time += OWN_COUNTS / 5
    gc.collect()
    assert len(alive) == 5
