"""One play: a site, what happens to it, and the verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import httpx

from athanore.errors import BoardError
from chaos.site import Site
from chaos.storm import Storm
from chaos.verdict import Verdict, judge, judge_polls
from tests.support import wait_until

_SETTLED = ("Done", "Failed", "Cancelled", "Parked")
_FINISHED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
_SLOWEST = 600.0  # seconds that a machine with too much to do may take for a first step
STILL = 180.0
"""Seconds without any progress after which what is left counts as stuck: several times the time
that recovery may take (`LOST_AFTER`, and two polls)."""


def storm(site: Site, weather: Storm, longest: float, *, verbose: bool = True) -> Verdict:
    """Let a storm rage over a site while most tasks are left; then everything has to settle.

    Args:
        longest: seconds after which the storm ends in any case.
    """
    began = time.monotonic()
    site.start()
    up = time.monotonic()
    shown = 0.0
    while time.monotonic() - up < longest and _left(site) > len(site.tasks) // 20:
        weather.tend(site.starts())
        site.tend()
        if verbose and time.monotonic() - shown > 20:
            shown = time.monotonic()
            say(f"{shown - began:5.0f} s  {_line(site)}")
        time.sleep(0.2)
    weather.end()
    _settle(site, verbose=verbose)
    return _judged(site, weather, began)


def strikes(site: Site, weather: Storm, kinds: list[str]) -> Verdict:
    """Have certain things happen to a site, each as soon as something can happen to it."""
    began = time.monotonic()
    site.start()
    for number, kind in enumerate(kinds, 1):
        # Spread over the work: each strike waits for some more of it.
        starts = number * len(site.tasks) // len(kinds)
        _wait(site, f"{starts} agents have started", lambda n=starts: site.starts() >= n)
        _wait(site, f"there is something for {kind!r}", lambda k=kind: weather.strike(k))
    _settle(site, verbose=False)
    weather.end()
    return _judged(site, weather, began)


def outage(site: Site, weather: Storm, seconds: float) -> Verdict:
    """Have the Prefect server away for so long, from before the agents end; nothing runs twice."""
    began = time.monotonic()
    site.start()
    # With a first word through the API, which then knows them while it cannot ask Prefect.
    _wait(site, "all agents work", lambda: _first_words(site) >= len(site.tasks))
    weather.strike("server killed")
    site.server.hold_down(seconds)
    back = time.monotonic() + seconds
    while time.monotonic() < back:
        site.tend()
        time.sleep(0.1)
    _settle(site, verbose=False)
    verdict = _judged(site, weather, began)
    starts = verdict.figures["agents started"]
    if starts != 2 * len(site.tasks):
        verdict.blame("doubled", f"{starts} agents for {len(site.tasks)} tasks in two stages")
    return verdict


def _first_words(site: Site) -> int:
    return sum(entry["event"] == "commented" for entry in site.record())


def _wait(site: Site, what: str, condition: Callable[[], bool]) -> None:
    def look() -> bool:
        site.tend()
        return condition()

    wait_until(what, look, _SLOWEST)


def _settle(site: Site, *, verbose: bool) -> None:
    """Wait until nothing waits or works any more, or nothing has changed for a long time."""
    changed, seen = time.monotonic(), ""
    shown = 0.0
    while time.monotonic() - changed < STILL:
        site.tend()
        line = _line(site)
        if _is_settled(site):
            return
        if (now := f"{line} {len(site.record())}") != seen:
            changed, seen = time.monotonic(), now
        if verbose and time.monotonic() - shown > 20:
            shown = time.monotonic()
            say(f"settling: {line}")
        time.sleep(0.5)


def _is_settled(site: Site) -> bool:
    if _left(site):
        return False
    try:
        return all(run["state_type"] in _FINISHED for run in site.runs())
    except httpx.HTTPError:  # the server is away just now
        return False


def _left(site: Site) -> int:
    try:
        places = site.places()
    except BoardError:  # it is away just now
        return len(site.tasks)
    return len(site.tasks) - sum(places[queue] for queue in _SETTLED)


def _line(site: Site) -> str:
    try:
        return "  ".join(f"{queue} {count}" for queue, count in site.places().items() if count)
    except BoardError as exc:
        return f"({exc})"


def _judged(site: Site, weather: Storm, began: float) -> Verdict:
    verdict = judge(site, weather)
    verdict.figures["seconds"] = round(time.monotonic() - began)
    for service in (*site.workers, site.api):
        code = service.stop()
        if code != 0:
            verdict.blame("crashed service", f"{service.name} ended with {code} after TERM")
        for code in service.bad_exits:
            verdict.blame("crashed service", f"{service.name} ended with {code} by itself")
    judge_polls(site, verdict)
    site.server.stop()
    deadline = time.monotonic() + 15
    while (left := site.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        verdict.blame("orphans", f"process {process.pid} lives: {' '.join(process.cmdline())}")
    return verdict


def report(title: str, weather: Storm, verdict: Verdict) -> None:
    """Print what happened and what came of it."""
    say(f"--- {title}")
    say("what happened: " + ", ".join(f"{n} x {k}" for k, n in weather.happened.most_common()))
    say("figures:       " + ", ".join(f"{k} {n}" for k, n in verdict.figures.items()))
    for violation in verdict.violations[:40]:
        say(f"  {violation}")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
