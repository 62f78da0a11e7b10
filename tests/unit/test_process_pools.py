"""What is written and said of work pools of Prefect's process workers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import DeploymentConfig

from athanore import AgentDispatcher, MemoryAdapter
from athanore.cli.deploy.deploying import what_processes_cost
from athanore.deployments.plan import Plan, plan
from athanore.deployments.prefect_yaml import prefect_yaml
from tests.harness import prompt

BOTH = ("shop-agents", "shop-polls")


def planned(poll_interval: float) -> Plan:
    board = MemoryAdapter(["Todo", "Review"])
    dispatcher = AgentDispatcher(
        "true", name="shop", poll_interval=poll_interval, queue_backend=board
    )
    for queue in ("Todo", "Review"):
        dispatcher.route(queue)(prompt)
    return plan(dispatcher, "run.py:dispatcher")


@pytest.mark.parametrize(
    ("interval", "pools", "says", "says_not"),
    [
        (10, BOTH, ["every poll and every agent", "17,280 times a day", "to 60 s or more"], []),
        (3600, BOTH, ["every poll and every agent", "48 times a day"], ["Set poll_interval"]),
        (10, ["shop-agents"], ["process for every agent, which"], ["poll", "times a day"]),
        (3600, ["shop-polls"], ["process for every poll, which"], ["agent"]),
    ],
)
def test_what_they_cost_is_said_whatever_the_interval(
    interval: float, pools: list[str], says: list[str], says_not: list[str]
) -> None:
    said = what_processes_cost(planned(interval), pools)
    assert [words for words in (*says, "100 MB") if words not in said] == []
    assert [words for words in says_not if words in said] == []


def test_prefect_yaml_has_one_poll_of_a_route_at_a_time_there() -> None:
    def limits(**options: Any) -> dict[str, Any]:
        text = prefect_yaml(planned(30), "run.py:dispatcher", **options)
        read = [DeploymentConfig.model_validate(d) for d in yaml.safe_load(text)["deployments"]]
        return {str(d.entrypoint).rpartition(":")[2]: d.concurrency_limit for d in read}

    assert limits() == limits(pool_type="athanore") == {"poll_route": None, "run_agent": None}
    found = limits(pool_type="process")
    assert found["run_agent"] is None
    assert (found["poll_route"].limit, found["poll_route"].collision_strategy) == (1, "CANCEL_NEW")


def test_the_file_says_how_it_was_written() -> None:
    text = prefect_yaml(planned(30), "run.py:dispatcher", pool_type="process")
    assert "#   athanore prefect-yaml run.py:dispatcher --pool-type process -o prefect.yaml" in text
    assert "#   athanore pools --pool-type process\n" in text
