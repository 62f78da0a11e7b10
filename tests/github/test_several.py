"""Several repositories as one board: ids, claims, webhooks, queues and one budget of requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from athanore.errors import (
    ConfigurationError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github import GitHubBoard
from athanore.queue_adapters.github.several import GitHubRepositories
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.server import PERSON, TOKEN
from athanore.testing.doubles.github.state import State
from tests.github.conftest import QUEUES
from tests.github.test_webhook import SECRET, signed

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
API, TOOLS = "octo-org/api", "friend/tools"
MARK = "agent:Todo"


@pytest.fixture(scope="module")
def double() -> Iterator[GitHubDouble]:
    with github_double(others=[API, TOOLS]) as github:
        yield github


@pytest.fixture
def github(double: GitHubDouble) -> Iterator[GitHubDouble]:
    double.start_anew(*QUEUES)
    yield double
    assert double.wire.violations == []


@pytest.fixture
def adapter(github: GitHubDouble) -> Iterator[GitHubRepositories]:
    adapter = github.board(API, TOOLS).create_adapter()
    assert isinstance(adapter, GitHubRepositories)
    yield adapter
    adapter.close()


def others(github: GitHubDouble) -> tuple[State, State]:
    return github.wire.others[API], github.wire.others[TOOLS]


def labels(state: State, number: int) -> list[str]:
    return [label["name"] for label in state.issues[number]["labels"]]


def test_a_poll_is_one_request_a_repository_and_the_oldest_issue_of_all_comes_first(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, tools = others(github)
    github.issue("website", MARK)["created_at"] = "2026-01-02T00:00:00Z"
    api.add_issue(PERSON, "api", None, [MARK])["created_at"] = "2026-01-01T00:00:00Z"
    tools.add_issue(PERSON, "tools", None, [MARK])["created_at"] = "2026-01-03T00:00:00Z"
    found = adapter.get_ready_tasks([PROGRESS, TODO])
    assert [task.id for task in found] == ["api-1", "website-1", "friend~tools-1"]
    assert [task.name for task in found] == ["api", "website", "tools"]
    assert adapter.get_task("friend~tools-1").name == "tools"
    assert adapter.id_of("friend/tools#1") == "friend~tools-1"
    assert adapter.id_of("api#1") == adapter.id_of("api-1") == "api-1"
    assert [(q.name, q.task_count) for q in adapter.list_queues()] == [
        (TODO, 3), (PROGRESS, 0), (DONE, 0),
    ]  # fmt: skip
    polls = [line for line in github.log if line.endswith("/issues")]
    assert sorted(polls) == [
        f"GET /repos/{name}/issues" for name in (TOOLS, API, "octo-org/website")
    ]


def test_what_is_done_with_a_task_is_done_in_its_repository(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, _ = others(github)
    github.issue("website", MARK)
    api.add_issue(PERSON, "api", None, [MARK])
    task = claim_task(adapter, "api-1", source_queue=TODO, target_queue=PROGRESS)
    assert (task.id, task.queue_name, task.assignees) == ("api-1", PROGRESS, ("athanore-bot",))
    with pytest.raises(TaskMovedError, match="'api-1' is in 'In Progress'"):
        claim_task(adapter, "api-1", source_queue=TODO, target_queue=PROGRESS)
    adapter.add_comment("api-1", "Seen.")
    assert adapter.update_task("api-1", name="new name").id == "api-1"
    adapter.move_task("api-1", DONE)
    assert (labels(api, 1), api.issues[1]["title"]) == (["agent:Done"], "new name")
    assert len(api.comments[1]) == 1
    assert github.labels(1) == [MARK] and github.comments(1) == []
    assert adapter.create_task(TODO, "made").id == "website-2"
    for wrong in ("api-9", "nowhere-1", "1", "other~api-1"):
        with pytest.raises(TaskNotFoundError, match=wrong):
            adapter.get_task(wrong)


def test_an_issue_is_assigned_where_the_account_can_be(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, _ = others(github)
    api.collaborators.clear()
    api.add_issue(PERSON, "api", None, [MARK])
    assert adapter.user == "athanore-bot"
    task = claim_task(adapter, "api-1", source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ())


def test_an_issue_of_another_repository_of_the_board_may_block_one(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, tools = others(github)
    blocked = github.issue("blocked", MARK)
    for state in (api, tools):
        github.block(blocked, state.add_issue(PERSON, "blocker"))
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.blocked_by == ("api-1", "friend~tools-1")
    alone = github.board(API).create_adapter()
    assert alone.get_task("website-1").blocked_by == ("api-1",), "tools is not on this board"
    alone.close()


def test_a_webhook_of_each_repository_is_heard(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, _ = others(github)
    assert adapter.get_ready_tasks([TODO]) == []
    row = api.add_issue(PERSON, "api", None, [MARK])
    for name, expected in ((API, [TODO]), ("octo-org/elsewhere", [])):
        payload = {"action": "labeled", "issue": row, "repository": {"full_name": name}}
        delivery = signed("issues", payload)
        assert adapter.queues_of_delivery(*delivery, SECRET, [DONE, TODO]) == expected
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == ["api-1"]


def test_a_queue_is_made_renamed_and_deleted_in_all_repositories(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, tools = others(github)
    states = (github.state, api, tools)
    tools.add_label("agent:Review")
    adapter.create_queue("Review")
    assert all(state.label("agent:Review") for state in states)
    with pytest.raises(QueueExistsError):
        adapter.create_queue("Review")
    assert adapter.update_queue("Review", new_name="Check").name == "Check"
    assert all(state.label("agent:Check") for state in states)
    api.add_issue(PERSON, "api", None, ["agent:Check"])
    with pytest.raises(QueueNotEmptyError):
        adapter.delete_queue("Check")
    assert all(state.label("agent:Check") for state in states), "all or none"
    with pytest.raises(QueueNotFoundError, match="'Todo'"):
        adapter.get_ready_tasks(["Nowhere"])
    with pytest.raises(ConfigurationError, match="'octo-org/website' has no label 'agent:Nowhere'"):
        adapter.prepare(["Nowhere"])


def test_a_repository_that_has_lost_a_label_does_not_hold_up_the_others(
    github: GitHubDouble, adapter: GitHubRepositories
) -> None:
    api, _ = others(github)
    label = github.state.label(MARK)
    assert label is not None
    github.state.delete_label(label)
    api.add_issue(PERSON, "api", None, [MARK])
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == ["api-1"]


def test_the_board_is_the_same_when_a_repository_is_added(github: GitHubDouble) -> None:
    marks = [
        set(github.board(*names).create_adapter().board_identity().marks)
        for names in ((), (API,), (API, TOOLS))
    ]
    assert marks[0] < marks[1] < marks[2]


def test_the_repositories_share_what_is_left_of_the_requests(
    github: GitHubDouble, adapter: GitHubRepositories, caplog: pytest.LogCaptureFixture
) -> None:
    github.wire.remaining = 363
    adapter.get_ready_tasks([TODO])
    adapter.forget_picture()
    adapter.get_ready_tasks([TODO])
    said = [r.getMessage() for r in caplog.records if getattr(r, "action", "") == "board_read_less"]
    assert said and all("every 60 s" in line or "every 61 s" in line for line in said)
    assert [quota.name for quota in adapter.quotas()] == ["core"]


def test_what_makes_no_board_is_told(github: GitHubDouble) -> None:
    wrong: list[tuple[list[str], str]] = [
        ([], "must name repositories"),
        (["o/a", "O/A"], "each once"),
        (["o/a", "b"], "write owner/name"),
    ]
    for repositories, says in wrong:
        with pytest.raises(ConfigurationError, match=says):
            GitHubBoard(repositories, token=TOKEN).create_adapter()
    with pytest.raises(ConfigurationError, match="are of several owners"):
        github.board(TOOLS, token=None, app=github.app()).create_adapter()
