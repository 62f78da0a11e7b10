"""A queue with a great many ready tasks: the poll that finds them, and the page that shows them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import httpx

from bench.agents import FirstLines
from bench.rig import App, Rig, RouteOptions, cpu_seconds_of, settle
from bench.table import Row
from tests.support import wait_until

_SLOTS = 2
_REFRESHES = 20
_EVERY = 1.0
_NOTHING = "/static/icon.svg"


def crowd(rig: Rig) -> Iterator[Row]:
    """From the file's write to the first agent and to the last run; then what the page costs."""
    count = rig.sizes.crowd
    gate = rig.folder / f"gate-{os.urandom(4).hex()}"
    os.mkfifo(gate)
    lines = FirstLines(rig, then=f"cat {gate}")
    with rig.app("crowd", RouteOptions(command=lines.command), slots=_SLOTS) as app:
        app.board.add("Todo", count)
        began = time.time()
        first = lines.any_of(120) - began
        wait_until(f"{count} runs are made", lambda: app.prefect.count() >= count, 900)
        made = time.time() - began
        yield Row(
            "crowd",
            f"a poll that finds {count:,} ready tasks, {_SLOTS} slots: from the write of the "
            "board's file until the first agent's line, and until every task has its run",
            "below 3 s; below 180 s",
            f"{first:.1f} s; {made:.0f} s",
            first < 3 and made < 180,
            {"first_seconds": first, "all_seconds": made},
        )
        _marked(rig, app)
        settle(rig.sizes.settle_seconds)
        for cards in (count, min(rig.sizes.cards, count)):
            if cards < count:
                _leave(app, cards)
            yield _page(rig, app)


def _marked(rig: Rig, app: App) -> None:
    """Wait until Prefect has marked the waiting runs as late, which costs as much as to start them.

    It begins a minute after each was made. A server of somebody else's may never do it.
    """

    def is_done() -> bool:
        return app.prefect.count(state={"name": {"any_": ["Scheduled"]}}) == 0

    with suppress(AssertionError):
        wait_until("all runs are late", is_done, rig.sizes.late_within_seconds, every=2)


def _leave(app: App, cards: int) -> None:
    """Take tasks from the board until so many are left; their runs wait on.

    The route is paused, so that no poll sees that they are gone.
    """
    with httpx.Client(base_url=app.api_url, timeout=120, trust_env=False) as api:
        api.post("/routes/Todo/pause", json={}).raise_for_status()
    app.board.keep(cards)


def _page(rig: Rig, app: App) -> Row:
    """What the app and the server spend on the board page, which asks once a second."""

    def spent() -> tuple[float, float]:
        return cpu_seconds_of(app.process), rig.server_cpu_seconds()

    with httpx.Client(base_url=app.api_url, timeout=120, trust_env=False) as page:

        def refreshes(number: int, path: str) -> tuple[float, float, float, list[float]]:
            before, log, times = spent(), _lines(app), list[float]()
            began = time.monotonic()
            for turn in range(number):
                sent = time.monotonic()
                page.get(path).raise_for_status()
                times.append(time.monotonic() - sent)
                settle(max(0.0, began + (turn + 1) * _EVERY - time.monotonic()))
            ours, servers = (now - then for now, then in zip(spent(), before, strict=True))
            return ours / number, servers / number, (_lines(app) - log) / number, times

        first = refreshes(1, "/board")[3][0]
        # What else goes on is measured on both sides: Prefect marks runs as late, for one.
        sides = [refreshes(_REFRESHES // 2, _NOTHING)]
        board = refreshes(_REFRESHES, "/board")
        sides.append(refreshes(_REFRESHES // 2, _NOTHING))
        shown = len(page.get("/board").json()["cards"])
    waiting = app.prefect.count(state={"type": {"any_": ["SCHEDULED"]}})
    ours = board[0] - (sides[0][0] + sides[1][0]) / 2
    server = board[1] - (sides[0][1] + sides[1][1]) / 2
    requests = board[2] - (sides[0][2] + sides[1][2]) / 2
    cpu = ours + server
    return Row(
        "crowd",
        f"the board page with {shown:,} cards and {waiting:,} waiting runs, asked every "
        f"{_EVERY:g} s; app and Prefect server",
        "below 20 ms of CPU a refresh with 1,000 cards",
        f"{cpu * 1000:.0f} ms of CPU (the server's {server * 1000:.0f} ms among them) and "
        f"{requests:.1f} requests to Prefect a refresh; an answer takes "
        f"{median(board[3]) * 1000:.0f} ms, the first {first:.2f} s",
        cpu < 0.02 if shown <= rig.sizes.cards else None,
        {
            "cards": shown,
            "waiting_runs": waiting,
            "cpu_seconds": cpu,
            "server_cpu_seconds": server,
            "requests": requests,
            "answers": board[3],
            "first": first,
        },
    )


def _lines(app: App) -> int:
    """How many requests the app has sent to Prefect."""
    return sum("HTTP Request" in line for line in app.log.read_text().splitlines())
