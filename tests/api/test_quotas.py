"""What is left of a board's quotas is shown wherever people look."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from athanore import AgentDispatcher
from athanore.launch.inspection.doctor import board_finding
from athanore.queue_adapters.base import QueueAdapter
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from tests.api.rig import served
from tests.harness import prompt


@contextmanager
def board_of(kind: str) -> Generator[QueueAdapter]:
    """A board on a double that has told its quotas."""
    if kind == "github":
        with github_double() as github, closing(github.board().create_adapter()) as board:
            yield board
    elif kind == "gitlab":
        with gitlab_double() as gitlab, closing(gitlab.board().create_adapter()) as board:
            yield board
    elif kind == "linear":
        with linear_double() as linear, closing(linear.board().create_adapter()) as board:
            yield board
    else:
        with jira_double() as jira:
            jira.start_anew("Todo", "In Progress", "Done", deployment="Server")
            jira.state.bucket = 100, 90
            with closing(jira.board().create_adapter()) as board:
                yield board


@pytest.mark.parametrize("kind", ["github", "gitlab", "jira", "linear"])
def test_quotas_are_in_the_status_in_the_metrics_and_in_doctor(kind: str, prefect_api: str) -> None:
    with board_of(kind) as board:
        app = AgentDispatcher(
            name=f"quota-{kind}", queue_backend=board, command="true",
            poll_interval=timedelta(days=30),
        )  # fmt: skip
        app.route("Todo")(prompt)
        board.get_ready_tasks(["Todo"])
        with served(app, prefect_api) as api:
            quota, *_ = api.get("/status")["board_quotas"]
            name = "core" if kind == "github" else "requests"  # as GitHub calls it
            assert quota["name"] == name
            assert 0 < quota["remaining"] < quota["limit"]
            metrics = api.http.get("/metrics").text
            assert f'athanore_board_quota_remaining{{quota="{name}"}}' in metrics
        assert "left to ask:" in board_finding(app).says
        assert f"of {quota['limit']} ({name}) until" in board_finding(app).says
