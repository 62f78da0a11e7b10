"""How the cost grows with routes, tasks and agents: a line through what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from bench.agents import waiting_agents
from bench.dispatching import dispatch
from bench.idle import idle_share
from bench.rig import Rig
from bench.table import Row, line


def growth(rig: Rig) -> Iterator[Row]:
    """Fit lines for idle routes, for dispatched tasks, and for agents that wait."""
    sizes = rig.sizes
    routes = [(n * sizes.idle_routes // 2, 0.0) for n in sizes.growth]
    routes = [(n, idle_share(rig, max(1, n))[0]) for n, _ in routes]
    yield _row("idle routes", "of one core for each route", routes)
    with rig.app("growth") as app:
        counts = [n * sizes.tasks // 2 for n in sizes.growth]
        tasks = [(n, dispatch(app, max(1, n)) * max(1, n)) for n in counts]
    yield _row("tasks", "s for each task", tasks)
    counts = [max(1, n * sizes.agents // max(sizes.growth)) for n in sizes.growth]
    _, _, measured = waiting_agents(rig, counts)
    yield _row("agents that wait", "MB for each agent", [(n, m[0]) for n, m in measured.items()])


def _row(what: str, unit: str, points: list[tuple[int, float]]) -> Row:
    slope, base = line([(float(x), y) for x, y in points])
    measured = ", ".join(f"{x}: {y:.3g}" for x, y in points)
    return Row(
        "growth",
        f"growth with {what}",
        "",
        f"{slope:.3g} {unit}, and {base:.3g} at none (measured {measured})",
        None,
        {"points": points, "slope": slope, "intercept": base},
    )
