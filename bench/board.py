"""The JSON board by itself: a claim with more and more tasks in the file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from athanore import JsonFileAdapter
from athanore.queue_adapters.base import claim_task
from bench.rig import Board, Rig
from bench.table import Row


def board(rig: Rig) -> Iterator[Row]:
    """A claim: read the task, move it, comment on it; every change is durable."""
    times: dict[int, float] = {}
    for count in rig.sizes.boards:
        file = Board(rig.folder / f"board-{count}.json", ["Todo", "In Progress"])
        ids = file.add("Todo", count)
        adapter = JsonFileAdapter(file.path, user="bench")
        adapter.get_task(ids[0])
        took: list[float] = []
        for task_id in ids[: rig.sizes.claims]:
            began = time.perf_counter()
            adapter.get_task(task_id)
            claim_task(adapter, task_id, source_queue="Todo", target_queue="In Progress")
            adapter.add_comment(task_id, "Claimed.")
            took.append(time.perf_counter() - began)
        times[count] = median(took)
    most = max(times)
    yield Row(
        "board",
        "JSON board: a claim (read, move, comment) with "
        + ", ".join(f"{n:,}" for n in times)
        + " tasks",
        f"stated; below 30 ms at {most:,}",
        ", ".join(f"{t * 1000:.1f} ms" for t in times.values()),
        times[most] < 0.03,
        {"seconds_by_tasks": times},
    )
