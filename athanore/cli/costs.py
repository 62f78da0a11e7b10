"""The command that shows what agents have cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from athanore.cli.at_work import from_app
from athanore.cli.context import AppOption, AsJson, with_app
from athanore.cli.output import print_json, print_table, say
from athanore.services.showing.cost_views import By, Costs, Report

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App


def costs(
    *,
    by: Annotated[By, Parameter(help="What each line is about.")] = "route",
    days: Annotated[
        int, Parameter(name=["--days", "-d"], help="1 is today.", validator=Number(gte=1, lte=31))
    ] = 7,
    app: AppOption = None,
    json: AsJson = False,
) -> None:
    """Show what agents have cost: dollars, tokens, and what nobody knows."""

    async def action(client: PrefectRunStore, found: App) -> Report:
        from athanore.services.status.costs import costs

        return await costs(client, found, by, days)

    report = from_app(app, Report, "/costs", by=by, days=days)
    if report is None:
        report = with_app(app, action)
    if json:
        print_json(report)
        return
    rows = [*report.rows, report.total] if len(report.rows) > 1 else report.rows
    print_table(
        (by, "cost", "unmeasured", "attempts", "tasks", "tokens read", "tokens written"),
        (
            (
                row.key,
                _cost(row),
                _attempts(row.unmeasured),
                row.attempts,
                row.tasks,
                _count(row.input_tokens),
                _count(row.output_tokens),
            )
            for row in rows
        ),
        title=f"Since {report.since:%Y-%m-%d %H:%M %Z}",
    )
    if any(row.estimated_usd for row in rows):
        say("`about`: some of it is estimated from tokens and public prices.", "dim")
    if report.is_partial:
        say("There were too many runs to count them all; these are the newest.", "yellow")


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}" if count else ""


def _cost(row: Costs) -> str:
    from athanore.budgets import dollars

    if row.cost_usd is None:
        return "unmeasured"
    return f"about {dollars(row.cost_usd)}" if row.estimated_usd else dollars(row.cost_usd)


def _count(tokens: int | None) -> str:
    return "unmeasured" if tokens is None else f"{tokens:,}"
