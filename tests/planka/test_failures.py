"""What the adapter makes of a server that fails, refuses or is not Planka."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import timedelta

import pytest

from athanore.errors import (
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
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.planka import PlankaAdapter, PlankaBackend
from tests.planka.server import PASSWORD, STRANGER_KEY, Server, planka_server

TODO, PROGRESS, DONE = "P.B.Todo", "P.B.In Progress", "P.B.Done"


# --- passing trouble ---


@pytest.mark.parametrize("kind", [502, 503, 504, "lost"])
def test_a_read_that_fails_in_passing_is_repeated(
    planka: Server, adapter: PlankaAdapter, kind: int
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("GET", "/boards/", kind, times=2)
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == [card["id"]]


@pytest.mark.parametrize("kind", [503, "lost"])
def test_a_move_that_fails_in_passing_is_repeated(
    planka: Server, adapter: PlankaAdapter, kind: int
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", kind, times=2)
    adapter.move_task(card["id"], DONE)
    assert card["listId"] == planka.list("Done")["id"]


def test_trouble_that_stays_is_unavailable(planka: Server, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/projects", 503, times=3)
    with pytest.raises(BoardUnavailableError, match="503"):
        adapter.get_ready_tasks([TODO])
    assert adapter.get_ready_tasks([TODO]) == []


def test_a_comment_whose_answer_was_lost_is_not_written_twice(
    planka: Server, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.fail("POST", "/comments", "lost")
    with pytest.raises(BoardError, match="may have been done") as caught:
        adapter.add_comment(card_id, "hello")
    assert not isinstance(caught.value, BoardUnavailableError)  # which would promise the opposite
    assert [comment.text for comment in adapter.get_task(card_id).comments] == ["hello"]


@pytest.mark.parametrize(("status", "sure"), [(500, True), (503, True), (502, False), (504, False)])
def test_a_create_that_a_gateway_refuses_is_not_repeated(
    planka: Server, adapter: PlankaAdapter, status: int, sure: bool
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


def test_a_page_of_a_proxy_is_unavailable(planka: Server, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/projects", "page")
    with pytest.raises(BoardUnavailableError, match="Planka 2"):
        adapter.list_queues()


# --- credentials, membership, version ---


def test_a_wrong_key_says_what_to_do(planka: Server) -> None:
    adapter = planka.adapter(token="wrong")
    for call in (lambda: adapter.prepare([TODO]), lambda: adapter.get_ready_tasks([TODO])):
        with pytest.raises(BoardAccessError, match="PLANKA_TOKEN"):
            call()
    adapter.close()


def test_user_name_and_password_work_and_an_expired_session_is_renewed(planka: Server) -> None:
    card_id = planka.card("Todo", "a")["id"]
    adapter = planka.adapter(token=None, username="bot", password=PASSWORD)
    adapter.prepare([TODO])
    assert adapter.user == "Robot"
    planka.state.sessions.clear()
    adapter.add_comment(card_id, "hello")
    assert [comment.text for comment in adapter.get_task(card_id).comments] == ["hello"]
    assert len([line for line in planka.log if "access-tokens" in line]) == 2
    adapter.close()


def test_a_wrong_password_is_an_error_of_access(planka: Server) -> None:
    adapter = planka.adapter(token=None, username="bot", password="wrong")
    with pytest.raises(BoardAccessError, match="Invalid credentials"):
        adapter.prepare([TODO])
    adapter.close()


def test_terms_that_nobody_accepted_are_an_error_and_are_not_printed(
    planka: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    planka.state.terms_not_accepted.add("bot")
    adapter = planka.adapter(token=None, username="bot", password=PASSWORD)
    with pytest.raises(BoardAccessError, match="accept the terms"):
        adapter.prepare([TODO])
    assert capsys.readouterr().out == ""
    adapter.close()


def test_a_user_without_any_board_is_told_so(planka: Server) -> None:
    adapter = planka.adapter(token=STRANGER_KEY)
    with pytest.raises(BoardAccessError, match=r"'Stranger'.*editor"):
        adapter.prepare([TODO])
    with pytest.raises(QueueNotFoundError, match="editor of the board"):
        adapter.get_ready_tasks([TODO])
    adapter.close()


def test_a_board_that_the_user_may_not_see_is_an_error_of_access(
    planka: Server, adapter: PlankaAdapter
) -> None:
    planka.board("Other", "B", ("Todo",), role="")
    with pytest.raises(BoardAccessError, match=r"'Other\.B\.Todo'.*'P\.B'"):
        adapter.prepare([TODO, "Other.B.Todo"])


def test_a_viewer_is_told_to_become_an_editor(planka: Server, adapter: PlankaAdapter) -> None:
    planka.board("P", "Seen", ("Only seen",), role="viewer")
    card_id = planka.card("Only seen", "a")["id"]
    for call in (
        lambda: adapter.prepare(["P.Seen.Only seen"]),
        lambda: adapter.get_ready_tasks(["P.Seen.Only seen"]),
        lambda: adapter.move_task(card_id, "P.Seen.Only seen") or adapter.add_comment(card_id, "x"),
    ):
        with pytest.raises(BoardAccessError, match="editor"):
            call()


def test_an_admin_who_is_no_member_may_read_and_is_told_to_become_one(planka: Server) -> None:
    card_id = planka.card("Todo", "a")["id"]
    planka.state.remove("boardMemberships", lambda row: row["userId"] != planka.admin["id"])
    adapter = planka.adapter(token="admin-key-1234567890")
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
    with planka_server(version) as server:
        server.board(lists=("Todo",))
        adapter = server.adapter()
        with pytest.raises(ConfigurationError, match=version):
            adapter.prepare([TODO])
        adapter.close()


def test_what_is_no_planka_at_all_is_refused(planka: Server, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/bootstrap", "page")
    with pytest.raises(ConfigurationError, match="address"):
        adapter.prepare([TODO])


# --- what cannot be done ---


def test_values_that_planka_cannot_take_are_invalid(planka: Server, adapter: PlankaAdapter) -> None:
    card_id = planka.card("Todo", "a")["id"]
    with pytest.raises(InvalidTaskError, match="longer than 1024"):
        adapter.create_task(TODO, "n" * 1025)
    with pytest.raises(InvalidTaskError, match=r"'nobody'.*'Robot'"):
        adapter.update_task(card_id, name="changed", assignees=["nobody"])
    with pytest.raises(InvalidTaskError, match="'unknown'"):
        adapter.update_task(card_id, name="changed", labels=["unknown"])
    with pytest.raises(InvalidTaskError, match="empty"):
        adapter.update_queue(TODO, new_name="P.B. ")
    assert adapter.get_task(card_id).name == "a"


@pytest.mark.parametrize("task_id", ["abc", "../users/me", "1/comments", "", "9" * 19, "0", "1?x"])
def test_what_can_be_no_id_is_not_found_and_never_sent(
    planka: Server, adapter: PlankaAdapter, task_id: str
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
    planka: Server, adapter: PlankaAdapter
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
    planka: Server, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    planka.fail("PATCH", "/cards/", 503, times=3)
    with pytest.raises(BoardUnavailableError):
        claim_task(adapter, card["id"], source_queue=TODO, target_queue=PROGRESS)
    assert card["listId"] == planka.list("Todo")["id"]
    assert planka.state.rows("cardMemberships") == []


def test_a_claim_that_another_process_wins_by_a_hair_changes_nothing(
    planka: Server, adapter: PlankaAdapter
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


def test_every_error_has_the_vendors_as_its_cause(planka: Server, adapter: PlankaAdapter) -> None:
    planka.fail("GET", "/projects", 418)
    with pytest.raises(AthanoreError, match="418") as caught:
        adapter.list_queues()
    assert type(caught.value.__cause__).__module__ == "httpx"


def test_an_answer_that_takes_too_long_is_unavailable(planka: Server) -> None:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()  # takes connections, and never answers
        adapter = PlankaBackend(
            f"http://127.0.0.1:{sock.getsockname()[1]}",
            token="t",
            timeout=timedelta(seconds=0.05),
            retry_delays=(),
        ).create_adapter()
        with pytest.raises(BoardUnavailableError):
            adapter.list_queues()
        with pytest.raises(BoardError, match="may have been done"):
            adapter.add_comment("1", "x")
        adapter.close()
