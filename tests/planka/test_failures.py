"""What the adapter makes of a server that fails, refuses or is not Planka."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from athanore.errors import (
    AnswerLostError,
    AthanoreError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    ConfigurationError,
    InvalidTaskError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.planka.backend import PlankaAdapter, PlankaBackend
from athanore.testing.doubles.planka.server import (
    PASSWORD,
    SLOW,
    STRANGER_KEY,
    Fault,
    Kind,
    PlankaDouble,
    planka_double,
)
from athanore.testing.doubles.planka.state import Row

TODO, PROGRESS, DONE = "P.B.Todo", "P.B.In Progress", "P.B.Done"


# --- passing trouble ---


@pytest.mark.parametrize("kind", [502, 503, 504, "cut"])
def test_a_read_that_fails_in_passing_is_repeated(
    planka: PlankaDouble, adapter: PlankaAdapter, kind: int
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("GET", "/boards/", kind, times=2)
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == [card["id"]]


@pytest.mark.parametrize("kind", [503, "cut"])
def test_a_move_that_fails_in_passing_is_repeated(
    planka: PlankaDouble, adapter: PlankaAdapter, kind: int
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", kind, times=2)
    adapter.move_task(card["id"], DONE)
    assert card["listId"] == planka.list("Done")["id"]


def test_trouble_that_stays_is_unavailable(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/projects", 503, times=3)
    with pytest.raises(BoardUnavailableError, match="503"):
        adapter.get_ready_tasks([TODO])
    assert adapter.get_ready_tasks([TODO]) == []


def test_within_a_limit_of_a_proxy_nothing_is_asked(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.refuse_for(300)
    with pytest.raises(BoardUnavailableError) as caught:
        adapter.add_comment(card_id, "hello")
    wait = caught.value.retry_after
    assert wait is not None
    assert timedelta(seconds=200) < wait <= timedelta(seconds=301)
    asked = len(planka.log)
    with pytest.raises(BoardUnavailableError, match="rate limit"):
        adapter.get_ready_tasks([TODO])
    assert len(planka.log) == asked


# --- lost answers: a write that is unclear is read back ---


@pytest.fixture
def hasty(planka: PlankaDouble) -> Iterator[PlankaAdapter]:
    """An adapter that waits for a slow answer less long than that takes."""
    adapter = planka.board(timeout=timedelta(seconds=SLOW / 2)).create_adapter()
    yield adapter
    adapter.close()


def claim(adapter: PlankaAdapter, card: Row) -> Task:
    return claim_task(adapter, card["id"], source_queue=TODO, target_queue=PROGRESS)


LOST: tuple[Kind, ...] = ("cut", "slow", "lost")


@pytest.mark.parametrize("how", LOST)
def test_a_comment_whose_answer_was_lost_is_looked_for(
    planka: PlankaDouble, hasty: PlankaAdapter, how: Kind
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.fail("POST", "/comments", how)
    hasty.add_comment(card_id, "hello")
    assert [comment.text for comment in hasty.get_task(card_id).comments] == ["hello"]


def test_a_comment_that_did_not_arrive_is_written_once_more(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.fail("POST", "/comments", 504, times=3)
    with pytest.raises(AnswerLostError, match="written only if it is not there"):
        adapter.add_comment(card_id, "hello")
    assert adapter.get_task(card_id).comments == ()
    adapter.add_comment(card_id, "hello")
    assert [comment.text for comment in adapter.get_task(card_id).comments] == ["hello"]


def test_an_older_comment_of_the_same_words_is_not_the_one_in_doubt(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    adapter.add_comment(card_id, "hello")
    (row,) = planka.state.rows("comments")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    row["createdAt"] = hour_ago.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    planka.fail("POST", "/comments", 504)
    adapter.add_comment(card_id, "hello")
    assert [c.text for c in adapter.get_task(card_id).comments] == ["hello", "hello"]


@pytest.mark.parametrize("how", LOST)
def test_a_claim_whose_move_lost_its_answers_has_succeeded(
    planka: PlankaDouble, hasty: PlankaAdapter, how: Kind
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", how, times=1)
    planka.fail("PATCH", "/cards/", 502, times=2)
    task = claim(hasty, card)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("Robot",))
    assert card["listId"] == planka.list("In Progress")["id"]


def test_a_claim_that_cannot_be_looked_into_is_in_doubt_and_can_be_taken_up_again(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", "cut", times=1)
    planka.fail("PATCH", "/cards/", 503, times=2)
    planka.state.before_membership = lambda: planka.fail("GET", "/cards/", 503, times=3)
    with pytest.raises(AnswerLostError):
        claim(adapter, card)
    task = adapter.get_task(card["id"])
    assert (task.queue_name, task.assignees) == (PROGRESS, ("Robot",)), "its assignment is kept"
    again = claim_task(adapter, card["id"], source_queue=PROGRESS, target_queue=PROGRESS)
    assert again.queue_name == PROGRESS


@pytest.mark.parametrize("how", LOST)
def test_a_claim_whose_assignment_lost_its_answer_has_succeeded(
    planka: PlankaDouble, hasty: PlankaAdapter, how: Kind
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("POST", "/card-memberships", how)
    task = claim(hasty, card)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("Robot",))


def test_a_claim_whose_assignment_was_not_made_is_tried_again_later(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("POST", "/card-memberships", 504)
    with pytest.raises(BoardUnavailableError):
        claim(adapter, card)
    assert claim(adapter, card).queue_name == PROGRESS


def test_all_other_writes_are_read_back_too(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    board_id = planka.list("Todo")["boardId"]
    planka.state.add("labels", boardId=board_id, name="bug", color="red", position=1)
    for method, path, times in (
        ("POST", "/cards", 1), ("PATCH", "/cards/", 3), ("POST", "/card-labels", 1),
        ("POST", "/card-memberships", 1), ("POST", "/lists", 1), ("PATCH", "/lists/", 3),
        ("DELETE", "/lists/", 1),
    ):  # fmt: skip
        planka.wire.faults.append(Fault(method, path, "cut", times))
    task = adapter.create_task(TODO, "a", "words")
    changed = adapter.update_task(task.id, name="b", labels=["bug"], assignees=["Robot"])
    assert (changed.name, changed.description) == ("b", "words")
    assert (changed.labels, changed.assignees) == (("bug",), ("Robot",))
    adapter.create_queue("P.B.New")
    adapter.update_queue("P.B.New", new_name="P.B.Newer")
    adapter.delete_queue("P.B.Newer")
    assert [queue.name for queue in adapter.list_queues()] == [TODO, PROGRESS, DONE]
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["b"]
    assert not planka.wire.faults, "every answer was lost"


@pytest.mark.parametrize(
    ("status", "sure"), [(503, True), (500, False), (502, False), (504, False)]
)
def test_a_create_that_a_gateway_refuses_is_not_repeated(
    planka: PlankaDouble, adapter: PlankaAdapter, status: int, sure: bool
) -> None:
    planka.fail("POST", "/cards", status)
    with pytest.raises(BoardError) as caught:
        adapter.create_task(TODO, "a")
    assert isinstance(caught.value, BoardUnavailableError) == sure
    assert adapter.get_queue(TODO).task_count == 0


def test_a_server_that_is_down_is_unavailable() -> None:
    with closing(socket.socket()) as sock:  # bound and not listening: connections are refused
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        adapter = PlankaBackend(url, token="t", retry_delays=()).create_adapter()
        with pytest.raises(BoardUnavailableError, match=url):
            adapter.get_ready_tasks([TODO])
        with pytest.raises(BoardUnavailableError):
            adapter.add_comment("1", "hello")
        adapter.close()


def test_a_page_of_a_proxy_is_unavailable(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/projects", "page")
    with pytest.raises(BoardUnavailableError, match="Planka 2"):
        adapter.list_queues()


# --- credentials, membership, version ---


def test_a_wrong_key_says_what_to_do(planka: PlankaDouble) -> None:
    adapter = planka.board(token="wrong").create_adapter()
    for call in (lambda: adapter.prepare([TODO]), lambda: adapter.get_ready_tasks([TODO])):
        with pytest.raises(BoardAccessError, match="PLANKA_TOKEN"):
            call()
    adapter.close()


def test_user_name_and_password_work_and_an_expired_session_is_renewed(
    planka: PlankaDouble,
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    adapter = planka.board(token=None, username="bot", password=PASSWORD).create_adapter()
    adapter.prepare([TODO])
    assert adapter.user == "Robot"
    planka.state.sessions.clear()
    adapter.add_comment(card_id, "hello")
    assert [comment.text for comment in adapter.get_task(card_id).comments] == ["hello"]
    assert len([line for line in planka.log if "access-tokens" in line]) == 2
    adapter.close()


def test_a_wrong_password_is_an_error_of_access(planka: PlankaDouble) -> None:
    adapter = planka.board(token=None, username="bot", password="wrong").create_adapter()
    with pytest.raises(BoardAccessError, match="Invalid credentials"):
        adapter.prepare([TODO])
    adapter.close()


def test_terms_that_nobody_accepted_are_an_error_and_are_not_printed(
    planka: PlankaDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    planka.state.terms_not_accepted.add("bot")
    adapter = planka.board(token=None, username="bot", password=PASSWORD).create_adapter()
    with pytest.raises(BoardAccessError, match="accept the terms"):
        adapter.prepare([TODO])
    assert capsys.readouterr().out == ""
    adapter.close()


def test_a_user_without_any_board_is_told_so(planka: PlankaDouble) -> None:
    adapter = planka.board(token=STRANGER_KEY).create_adapter()
    with pytest.raises(BoardAccessError, match=r"'Stranger'.*editor"):
        adapter.prepare([TODO])
    with pytest.raises(QueueNotFoundError, match="editor of the board"):
        adapter.get_ready_tasks([TODO])
    adapter.close()


def test_a_board_that_the_user_may_not_see_is_an_error_of_access(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.add_board("Other", "B", ("Todo",), role="")
    with pytest.raises(BoardAccessError, match=r"'Other\.B\.Todo'.*'P\.B'"):
        adapter.prepare([TODO, "Other.B.Todo"])


def test_a_viewer_is_told_to_become_an_editor(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.add_board("P", "Seen", ("Only seen",), role="viewer")
    card_id = planka.card("Only seen", "a")["id"]
    for call in (
        lambda: adapter.prepare(["P.Seen.Only seen"]),
        lambda: adapter.get_ready_tasks(["P.Seen.Only seen"]),
        lambda: adapter.move_task(card_id, "P.Seen.Only seen") or adapter.add_comment(card_id, "x"),
    ):
        with pytest.raises(BoardAccessError, match="editor"):
            call()


def test_a_board_that_cannot_be_seen_any_more_does_not_make_its_cards_gone(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    (board,) = planka.state.rows("boards")
    adapter.prepare([TODO])
    planka.role_on(board, "")
    for call in (
        lambda: adapter.get_task(card_id),
        lambda: adapter.add_comment(card_id, "x"),
        lambda: adapter.move_task(card_id, DONE),
        lambda: claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS),
    ):
        with pytest.raises(BoardAccessError, match=r"'P\.B' any more"):
            call()
    planka.role_on(board, "editor")
    assert adapter.get_task(card_id).queue_name == TODO
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("123")


def test_an_admin_who_is_no_member_may_read_and_is_told_to_become_one(planka: PlankaDouble) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.state.remove("boardMemberships", lambda row: row["userId"] != planka.admin["id"])
    adapter = planka.board(token="admin-key-1234567890").create_adapter()
    assert adapter.get_task(card_id).name == "a"
    for call in (
        lambda: adapter.add_comment(card_id, "x"),
        lambda: adapter.move_task(card_id, DONE),
        lambda: adapter.create_task(TODO, "x"),
        lambda: adapter.create_queue("P.B.New"),
    ):
        with pytest.raises(BoardAccessError, match="being an admin is not enough"):
            call()
    adapter.close()


@pytest.mark.parametrize("version", ["1.26.3", "3.0.0"])
def test_another_major_version_is_refused(version: str) -> None:
    with planka_double(version, lists=()) as server:
        server.add_board("P", "B", lists=("Todo",))
        adapter = server.board().create_adapter()
        with pytest.raises(ConfigurationError, match=version):
            adapter.prepare([TODO])
        adapter.close()


def test_what_is_no_planka_at_all_is_refused(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/bootstrap", "page")
    with pytest.raises(ConfigurationError, match="address"):
        adapter.prepare([TODO])


# --- what cannot be done ---


def test_values_that_planka_cannot_take_are_invalid(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    with pytest.raises(InvalidTaskError, match=r"'nobody'.*'Robot'"):
        adapter.update_task(card_id, name="changed", assignees=["nobody"])
    with pytest.raises(InvalidTaskError, match="'unknown'"):
        adapter.update_task(card_id, name="changed", labels=["unknown"])
    with pytest.raises(InvalidTaskError, match="empty"):
        adapter.update_queue(TODO, new_name="P.B. ")
    assert adapter.get_task(card_id).name == "a"


@pytest.mark.parametrize("task_id", ["abc", "../users/me", "1/comments", "", "9" * 19, "0", "1?x"])
def test_what_can_be_no_id_is_not_found_and_never_sent(
    planka: PlankaDouble, adapter: PlankaAdapter, task_id: str
) -> None:
    for call in (
        lambda: adapter.get_task(task_id),
        lambda: adapter.add_comment(task_id, "x"),
        lambda: adapter.move_task(task_id, TODO),
        lambda: adapter.update_task(task_id, name="x"),
    ):
        with pytest.raises(TaskNotFoundError):
            call()
    assert planka.log == []


def test_a_list_that_was_deleted_a_moment_ago_is_not_found(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    adapter.get_ready_tasks([TODO])
    gone = planka.list("Done")["id"]
    planka.state.remove("lists", lambda row: row["id"] != gone)
    with pytest.raises(QueueNotFoundError):
        adapter.move_task(card["id"], DONE)
    with pytest.raises(QueueNotFoundError):
        adapter.create_task(DONE, "b")
    assert card["listId"] == planka.list("Todo")["id"]


def test_a_claim_that_cannot_move_the_card_takes_the_assignment_back(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", 503, times=3)
    with pytest.raises(BoardUnavailableError):
        claim_task(adapter, card["id"], source_queue=TODO, target_queue=PROGRESS)
    assert card["listId"] == planka.list("Todo")["id"]
    assert planka.state.rows("cardMemberships") == []


def test_a_claim_that_another_process_wins_by_a_hair_changes_nothing(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    task = adapter.get_task(card["id"])  # reads what the race is about
    assert task.assignees == ()
    planka.state.before_membership = lambda: planka.state.add(
        "cardMemberships", cardId=card["id"], userId=planka.bot["id"]
    )
    with pytest.raises(TaskMovedError):
        claim_task(adapter, card["id"], source_queue=TODO, target_queue=PROGRESS)
    assert card["listId"] == planka.list("Todo")["id"]


def test_a_status_that_means_nothing_here_is_told(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.fail("GET", "/projects", 418)
    with pytest.raises(BoardError, match="refused GET with status 418"):
        adapter.list_queues()


def test_an_answer_that_takes_too_long_is_unavailable(planka: PlankaDouble) -> None:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()  # takes connections, and never answers
        adapter = PlankaBackend(
            f"http://127.0.0.1:{sock.getsockname()[1]}",
            token="t",
            timeout=timedelta(seconds=0.5),
            retry_delays=(),
        ).create_adapter()
        with pytest.raises(BoardUnavailableError):
            adapter.list_queues()
        with pytest.raises(BoardError, match="may have been done"):
            adapter.add_comment("1", "x")
        adapter.close()


# --- signing in and out ---


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_a_session_does_not_outlive_its_adapter(planka: PlankaDouble, how: str) -> None:
    adapter = planka.board(token=None, username="bot", password=PASSWORD).create_adapter()
    adapter.prepare([TODO])
    assert planka.state.sessions
    if how == "closed":
        adapter.close()
    del adapter
    gc.collect()
    assert planka.state.sessions == {}


def test_signing_out_of_a_planka_that_is_gone_is_no_error() -> None:
    with planka_double(lists=()) as planka:
        planka.add_board("P", "B", lists=("Todo",))
        adapter = planka.board(token=None, username="bot", password=PASSWORD).create_adapter()
        adapter.prepare([TODO])
    adapter.close()


@pytest.mark.parametrize("status", [404, 301, 429, 418])
def test_only_a_refusal_is_called_a_wrong_password(planka: PlankaDouble, status: int) -> None:
    planka.fail("POST", "/access-tokens", status, times=3)
    adapter = planka.board(token=None, username="bot", password=PASSWORD).create_adapter()
    with pytest.raises(AthanoreError) as caught:
        adapter.list_queues()
    adapter.close()
    assert "user's name and password" not in str(caught.value)
    assert not isinstance(caught.value, BoardAccessError)


@pytest.mark.parametrize("token", ["a b", "a\nb", "schl\u00fcssel", "a\x00b"])
def test_what_can_be_no_key_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match="PLANKA_TOKEN") as caught:
        PlankaBackend("http://127.0.0.1:1", token=token).create_adapter()
    assert token not in str(caught.value)


def test_a_proxy_that_does_not_know_the_path_is_not_a_missing_card(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("GET", "/cards/", 404)
    with pytest.raises(BoardUnavailableError, match="does not answer like Planka"):
        adapter.get_task(card["id"])
