"""How often a task has come to a route.

Success is no progress by itself: an agent that puts its task back into the queue that it came from,
or two routes that hand a task to each other, succeed again and again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from athanore import names
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.states import StateName

WINDOW = timedelta(hours=24)
"""Rounds count for so long."""

_PAGE = 200


async def goes_round(
    prefect: RunStore, app: str, route_name: str, task_id: str, limit: int, since: datetime
) -> bool:
    """Tell whether a task has had `limit` runs of a route that ended `since` then and did not help.

    A person has put the task back since it was last stopped for that: only later runs count.
    """
    tags = [names.app_tag(app), names.AGENT_TAG, names.route_tag(route_name)]
    query = RunQuery(
        tags=[*tags, names.task_tag(task_id)],
        states=[StateType.COMPLETED, StateType.FAILED],
        ended_after=since,
    )
    # Nearly always that is all, at the same cost however many there are.
    if await prefect.count(query) < limit:
        return False
    counted = 0
    while counted < limit:
        page = await prefect.find(
            query, sort=FlowRunSort.END_TIME_DESC, limit=_PAGE, offset=counted
        )
        names_of_states = [run.state_name for run in page]
        if StateName.GOES_ROUND in names_of_states:
            return counted + names_of_states.index(StateName.GOES_ROUND) >= limit
        counted += len(page)
        if len(page) < _PAGE:
            break
    return counted >= limit
