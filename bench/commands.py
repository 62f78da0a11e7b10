"""Commands that people give while the app runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from bench.rig import APP, DONE, App, Rig, athanore
from bench.table import Row
from tests.support import wait_until

_AIM = 0.3


def commands(rig: Rig) -> Iterator[Row]:
    """How long each takes, from the start of its process to the end."""
    with rig.app("cli") as app:
        (task,) = app.board.add("Todo")
        wait_until("the task is done", lambda: app.board.in_queue(DONE) == 1, 120)
        given = (("status",), ("tasks",), ("show", task), ("logs", task), ("routes",))
        given += (("pause", "Todo"), ("resume", "Todo"))
        python = [_seconds(rig, app, sys.executable, "-c", "pass") for _ in _times(rig)][1:]
        took: dict[str, list[float]] = {words[0]: [] for words in given}
        for _ in _times(rig):
            for words in given:  # each after the other, for a route is paused once
                took[words[0]].append(_seconds(rig, app, athanore(), *words, "--app", APP))
    medians = {word: median(seconds[1:]) for word, seconds in took.items()}
    yield Row(
        "cli",
        f"commands while the app runs, from start to end (median of {rig.sizes.commands})",
        f"each below {_AIM} s",
        ", ".join(f"{word} {seconds:.2f} s" for word, seconds in medians.items())
        + f"; beside it `python -c pass` {median(python):.2f} s",
        max(medians.values()) < _AIM,
        {"seconds": took, "python_seconds": python},
    )


def _times(rig: Rig) -> range:
    """So many, and a first one that warms up."""
    return range(rig.sizes.commands + 1)


def _seconds(rig: Rig, app: App, *command: str) -> float:
    began = time.monotonic()
    done = subprocess.run(
        command, env=app.env, cwd=rig.folder, capture_output=True, text=True, timeout=120
    )
    took = time.monotonic() - began
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr[-500:]}"
    return took
