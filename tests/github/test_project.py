"""A project of GitHub as a board: several repositories, its own order, and what it costs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from athanore.errors import (
    BoardAccessError,
    BoardUnavailableError,
    ConfigurationError,
    NotSupportedError,
    TaskMovedError,
    TaskNotFoundError,
    WebhookRefusedError,
)
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github import GitHubProjectBoard
from athanore.queue_adapters.github.projects.adapter import GitHubProjectAdapter
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.app import Limit
from athanore.testing.doubles.github.server import PERSON
from athanore.testing.doubles.github.state import Row
from athanore.testing.doubles.wire import Kind

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
SECRET = "secret-of-the-webhook"
REPO = "/repos/octo-org/website"


@pytest.fixture(scope="module")
def double() -> Iterator[GitHubDouble]:
    others = ["octo-org/api", "friend/tools"]
    with github_double(project=("octo-org", 5), others=others) as github:
        yield github


@pytest.fixture
def github(double: GitHubDouble) -> Iterator[GitHubDouble]:
    double.start_anew("bug")
    double.project.start_anew([TODO, PROGRESS, DONE])
    yield double
    assert double.wire.violations == []


@pytest.fixture
def adapter(github: GitHubDouble) -> Iterator[GitHubProjectAdapter]:
    adapter = github.project_board(closes=[DONE]).create_adapter()
    yield adapter
    adapter.close()


def test_a_task_says_who_made_its_issue_and_when(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    row = card(github, "a")
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.author == PERSON
    assert task.created_at == datetime.fromisoformat(row["created_at"])
    assert task.updated_at == datetime.fromisoformat(row["updated_at"])


def card(github: GitHubDouble, title: str, column: str | None = TODO) -> Row:
    row = github.issue(title, "bug")
    github.project.add(row, column)
    return row


def test_issues_of_several_repositories_are_tasks_in_the_order_of_the_project(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    first = card(github, "website")
    api = github.wire.others["octo-org/api"].add_issue("octocat", "api", "- [ ] one")
    tools = github.wire.others["friend/tools"].add_issue("octocat", "tools")
    for row in (tools, api):
        github.project.add(row, TODO)
    closed = github.wire.others["friend/tools"].add_issue("octocat", "closed")
    github.wire.others["friend/tools"].set_fields(closed, {"state": "closed"})
    for other in (first, closed):
        github.wire.others["octo-org/api"].link(api, other)
    github.add_part(first, tools)
    github.project.add(github.pull_request("a pull request"), TODO, kind="PullRequest")
    card(github, "in no column", None)
    card(github, "archived")
    github.project.cards[-1]["isArchived"] = True
    tasks = adapter.get_ready_tasks([TODO, PROGRESS])
    assert [task.id for task in tasks] == ["website-1", "friend~tools-1", "api-1"]
    assert tasks[2].blocked_by == ("website-1",)
    assert [item.name for item in tasks[2].tasks] == ["one"]
    assert tasks[0].labels == ("bug",)
    (part,) = adapter.get_task("website-1").tasks
    assert (part.name, part.is_completed, part.id) == ("tools", False, "friend/tools#1")
    assert adapter.get_task("api-1") == tasks[2]
    assert adapter.id_of("friend/tools#1") == "friend~tools-1"
    assert adapter.id_of("website#1") == adapter.id_of("website-1") == "website-1"
    adapter.add_comment("api-1", "Seen, @octocat.")
    (comment,) = github.wire.others["octo-org/api"].comments[1]
    assert "@octocat" not in comment["body"]
    for wrong in ("website-99", "nowhere-1", "website", "../x-1"):
        with pytest.raises(TaskNotFoundError):
            adapter.get_task(wrong)


def test_a_token_that_loses_the_project_or_the_repository_deletes_no_task(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    other = github.wire.others["octo-org/api"]
    api = other.add_issue("octocat", "api")
    github.project.add(api, TODO)
    card(github, "a")
    assert adapter.get_task("api-1").name == "api"
    for state, task in ((github.state, "website-1"), (other, "api-1")):
        state.is_visible = False
        with pytest.raises(BoardAccessError, match="cannot see the issues of"):
            adapter.get_task(task)
        state.is_visible = True
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("website-99")
    github.project.is_visible = False
    for read in (lambda: adapter.get_task("website-1"), lambda: adapter.get_ready_tasks([TODO])):
        with pytest.raises(BoardAccessError, match="cannot see the project 5 of 'octo-org'"):
            read()


def test_a_poll_is_one_request_and_a_claim_five(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    row = card(github, "a")
    card(github, "b", PROGRESS)
    assert len(adapter.get_ready_tasks([TODO])) == 1
    assert len(adapter.get_ready_tasks([PROGRESS, DONE])) == 1
    assert github.log == ["POST /graphql Columns", "POST /graphql Items"]
    assert adapter.user == "athanore-bot"
    github.log.clear()
    task = claim_task(adapter, "website-1", source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("athanore-bot",))
    assert github.log == [
        "POST /graphql Item",
        f"GET {REPO}/issues/1/comments",
        "POST /graphql SetAfter",
        f"POST {REPO}/issues/1/assignees",
    ]
    assert [t.name for t in adapter.get_ready_tasks([PROGRESS])] == ["b", "a"]
    assert github.project.column(row) == PROGRESS
    with pytest.raises(TaskMovedError):
        claim_task(adapter, "website-1", source_queue=TODO, target_queue=PROGRESS)


def test_a_done_column_closes_and_a_move_out_of_it_opens_again(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    row = card(github, "a")
    adapter.move_task("website-1", DONE)
    assert (row["state"], github.project.column(row)) == ("closed", DONE)
    assert adapter.get_ready_tasks([DONE]) == []
    adapter.move_task("website-1", TODO)
    assert (row["state"], github.project.column(row)) == ("open", TODO)
    outside = github.issue("not in the project yet")
    adapter.move_task(f"website-{outside['number']}", PROGRESS)
    assert github.project.column(outside) == PROGRESS


def test_queues_are_made_on_github_only(adapter: GitHubProjectAdapter) -> None:
    with pytest.raises(NotSupportedError, match="made, renamed and deleted on GitHub only"):
        adapter.create_queue("Review")


def test_what_is_missing_is_told_at_the_start(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    adapter.prepare([TODO, DONE])
    assert github.state.issues == {}, "the write that is tried makes nothing"
    with pytest.raises(ConfigurationError, match=r"no Status 'Doing'.*'Todo', 'In Progress'"):
        adapter.prepare(["Doing"])
    github.project.may_write = False
    with pytest.raises(BoardAccessError, match="role Write in the project"):
        adapter.prepare([TODO])
    wrong = {"token": "github_pat_x"}, {"status_field": "Stage"}
    for options, error in zip(wrong, (BoardAccessError, ConfigurationError), strict=True):
        with pytest.raises(error):
            github.project_board(**options).create_adapter().prepare([TODO])
    other = GitHubProjectBoard("octo-org", 6, token="github_pat_of_the_double", url=github.url)
    with pytest.raises(BoardAccessError, match="cannot see the project 6"):
        other.create_adapter().prepare([TODO])
    with pytest.raises(ConfigurationError, match="is no project"):
        GitHubProjectBoard("octo-org/website", 5, token="x").create_adapter()


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_move_whose_answer_is_lost_is_made(
    github: GitHubDouble, adapter: GitHubProjectAdapter, kind: Kind
) -> None:
    row = card(github, "a")
    github.fail("POST", "/graphql Set", kind)
    adapter.move_task("website-1", PROGRESS)
    assert github.project.column(row) == PROGRESS
    github.fail("POST", "/graphql Add", kind)
    created = adapter.create_task(TODO, "b")
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == [created.id]


def test_columns_that_were_made_anew_are_read_again(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    row = card(github, "a")
    assert len(adapter.get_ready_tasks([TODO, PROGRESS])) == 1
    for column in github.project.columns:
        column["id"] += "x"
    github.project.cards[0]["option"] += "x"
    adapter.move_task("website-1", PROGRESS)
    assert github.project.column(row) == PROGRESS


def test_within_a_limit_nothing_is_asked(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    github.refuse_for(30)
    for _ in range(2):
        with pytest.raises(BoardUnavailableError, match="rate limit") as caught:
            adapter.get_ready_tasks([TODO])
        assert caught.value.retry_after is not None
    assert github.log == ["POST /graphql Columns"]


@pytest.mark.parametrize("kind", ["secondary", "silent"])
def test_a_secondary_limit_that_graphql_tells_is_one_of_rest_as_well(
    github: GitHubDouble, adapter: GitHubProjectAdapter, kind: Limit
) -> None:
    card(github, "a")
    task = adapter.get_task("website-1")
    assert task.comments == ()
    github.refuse_for(120, kind)
    github.log.clear()
    with pytest.raises(BoardUnavailableError) as caught:
        adapter.move_task("website-1", PROGRESS)
    wait = caught.value.retry_after
    assert wait is not None
    assert 50 < wait.total_seconds() <= 120
    assert github.log == ["POST /graphql Item"]
    with pytest.raises(BoardUnavailableError, match="rate limit"):
        adapter.add_comment("website-1", "Half of it works.")
    assert github.log == ["POST /graphql Item"]


def test_the_limit_of_an_hour_of_graphql_is_none_of_rest(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    card(github, "a")
    assert adapter.get_task("website-1").name == "a"
    github.refuse_for(120)
    with pytest.raises(BoardUnavailableError):
        adapter.get_task("website-1")
    github.wire.limit = None
    adapter.add_comment("website-1", "Half of it works.")


def test_a_blocker_that_the_token_may_not_see_hides_no_column(
    github: GitHubDouble, adapter: GitHubProjectAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    secret, blocked = github.issue("secret"), card(github, "a")
    github.block(blocked, secret)
    github.state.hidden.add(secret["node_id"])
    (task,) = adapter.get_ready_tasks([TODO])
    assert (task.blocked_by, adapter.get_task(task.id).blocked_by) == ((), ())
    assert [r.getMessage() for r in caplog.records if blocked["html_url"] in r.getMessage()] != []
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("website-99")


def test_an_open_issue_that_blocks_one_behind_many_closed_ones_is_found(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    blocked = card(github, "blocked")
    for n in range(25):
        blocker = github.issue(f"blocker {n}")
        github.block(blocked, blocker)
        if n < 24:
            github.state.set_fields(blocker, {"state": "closed"})
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.blocked_by == adapter.get_task(task.id).blocked_by == ("website-26",)


def test_an_issue_of_many_blockers_that_is_deleted_while_the_project_is_read_hides_no_other(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    blocked, other = card(github, "blocked"), card(github, "other")
    for n in range(21):
        blocker = github.issue(f"blocker {n}")
        github.block(blocked, blocker)
        github.state.set_fields(blocker, {"state": "closed"})

    def gone() -> None:
        del github.state.issues[blocked["number"]]

    github.wire.before["POST /graphql AllBlockers"] = gone
    names = [task.name for task in adapter.get_ready_tasks([TODO])]
    assert other["title"] in names
    assert blocked["number"] not in github.state.issues, "it was deleted right before the look"


def test_a_webhook_of_the_organization_names_both_columns(
    github: GitHubDouble, adapter: GitHubProjectAdapter
) -> None:
    row = card(github, "a")
    adapter.get_ready_tasks([TODO])
    ids = {column["name"]: column["id"] for column in github.project.columns}

    def told(before: str, after: str, project: str = github.project.id) -> list[str]:
        sides = {
            "from": {"id": ids[before], "name": before},
            "to": {"id": ids[after], "name": after},
        }
        item = {"project_node_id": project, "content_node_id": row["node_id"], "x": len(github.log)}
        payload = {"projects_v2_item": item, "changes": {"field_value": sides}}
        return adapter.queues_of_delivery(*signed("projects_v2_item", payload), SECRET, list(ids))

    assert told(PROGRESS, TODO) == [TODO, PROGRESS]
    assert told(PROGRESS, TODO, "another") == []
    adapter.move_task("website-1", DONE)
    assert told(TODO, DONE) == [], "our own change"
    with pytest.raises(WebhookRefusedError):
        adapter.queues_of_delivery({}, b"{}", SECRET, [TODO])


def signed(event: str, payload: object) -> tuple[dict[str, str], bytes]:
    """A delivery as GitHub sends it."""
    body = json.dumps(payload).encode()
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"x-github-event": event, "x-hub-signature-256": f"sha256={digest}"}, body
