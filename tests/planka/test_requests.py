"""How many requests the adapter sends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.planka import queues as boards
from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.testing.doubles.planka.server import PlankaDouble

TODO, PROGRESS, DONE = "P.B.Todo", "P.B.In Progress", "P.B.Done"


@pytest.fixture(autouse=True)
def no_board_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(boards, "BOARD_MAX_AGE", timedelta(hours=1))


def board_reads(planka: PlankaDouble) -> list[str]:
    return [line for line in planka.log if line.startswith("GET /api/boards/")]


def test_many_lists_polled_by_many_threads_cost_one_board_request(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.card("Todo", "a")
    queues = [[TODO], [PROGRESS], [DONE], [TODO, DONE]] * 4
    barrier = threading.Barrier(len(queues))

    def poll(names: list[str]) -> int:
        barrier.wait(timeout=30)
        return len(adapter.get_ready_tasks(names))

    with ThreadPoolExecutor(len(queues)) as pool:
        found = list(pool.map(poll, queues))
    assert found == [1, 0, 0, 1] * 4
    assert len(board_reads(planka)) == 1
    assert len(planka.log) == 3  # the board, the names of all boards, and who we are


def test_polling_a_thousand_cards_costs_no_request_for_any_of_them(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    for n in range(1_000):
        planka.card("Todo", f"card {n}", position=65536 * (n + 1))
    tasks = adapter.get_ready_tasks([TODO])
    assert [task.name for task in tasks] == [f"card {n}" for n in range(1_000)]
    assert len(board_reads(planka)) == 1
    assert len(planka.log) == 3


def test_a_move_and_a_comment_cost_one_request_each(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    adapter.get_ready_tasks([TODO])
    planka.log.clear()
    adapter.move_task(card_id, PROGRESS)
    adapter.add_comment(card_id, "Started.")
    adapter.move_task(card_id, DONE)
    assert planka.log == [
        f"PATCH /api/cards/{card_id}",
        f"POST /api/cards/{card_id}/comments",
        f"PATCH /api/cards/{card_id}",
    ]


def test_our_own_writes_are_seen_at_once(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    first = planka.card("Todo", "a")["id"]
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == [first]
    second = adapter.create_task(TODO, "b").id
    adapter.move_task(first, DONE)
    assert [task.id for task in adapter.get_ready_tasks([TODO, DONE])] == [second, first]
    adapter.update_task(second, name="c")
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["c"]


def test_a_claim_is_one_read_one_assignment_and_one_move(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    adapter.get_ready_tasks([TODO])
    planka.log.clear()
    task = claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("Robot",))
    assert planka.log == [
        f"GET /api/cards/{card_id}",
        f"POST /api/cards/{card_id}/card-memberships",
        f"PATCH /api/cards/{card_id}",
    ]
